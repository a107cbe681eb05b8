import type { Model, SampleOptions } from '../../edge/sampler/browser.ts'
import type { Reply, Request, Task } from './contender.ts'

/** The functions that the benchmark calls in its page through the browser's debugger. */
export interface Bench {
  /** Starts a contender in its own worker. `script` is the URL of its bundle. */
  open(name: string, script: string, kind: string, task: Task): Promise<void>
  /** Evaluates a contender once and returns the output. Every contender gets the same inputs. */
  check(name: string): Promise<number[]>
  /** Runs steps and returns the time in milliseconds. */
  run(name: string, steps: number): Promise<number>
  /** Loads a model with the sampler module and returns the device with the reason for choosing it. */
  load(address: string, device: 'wasm' | 'webgpu'): Promise<string>
  /** Generates images with previews and returns the time in milliseconds. */
  sample(options: SampleOptions): Promise<number>
  /**
   * Loads a model and generates one image. Returns the time in milliseconds from the start of the navigation until the
   * image is on a canvas.
   */
  visit(address: string, device: 'wasm' | 'webgpu', steps: number): Promise<number>
  /** Closes everything that was opened. */
  close(): void
}

const workers = new Map<string, Worker>()
let model: Model | null = null

function send(name: string, request: Request): Promise<Extract<Reply, { type: 'done' }>> {
  const worker = workers.get(name)!
  return new Promise((resolve, reject) => {
    worker.onerror = ({ message }) => reject(new Error(`${name}: ${message}`))
    worker.onmessage = ({ data }: MessageEvent<Reply>) =>
      data.type === 'done' ? resolve(data) : reject(new Error(`${name}: ${data.message}`))
    worker.postMessage(request)
  })
}

const bench: Bench = {
  async open(name, script, kind, task) {
    workers.set(name, new Worker(script, { type: 'module' }))
    await send(name, { type: 'open', kind, task })
  },
  async check(name) {
    const { output } = await send(name, { type: 'check' })
    return [...output!]
  },
  async run(name, steps) {
    const { milliseconds } = await send(name, { type: 'run', steps })
    return milliseconds
  },
  async load(address, device) {
    const module = '/sampler.js'
    const { load } = (await import(module)) as typeof import('../../edge/sampler/browser.ts')
    model = await load(address, { device })
    return model.deviceReason
  },
  async sample(options) {
    const start = performance.now()
    await model!.sample({ ...options, onStep() {} })
    return performance.now() - start
  },
  async visit(address, device, steps) {
    await bench.load(address, device)
    const [image] = await model!.sample({ seed: 1, steps, guidance: 1 })
    const canvas = document.createElement('canvas')
    canvas.getContext('2d')!.putImageData(image!.pixels, 0, 0)
    document.body.append(canvas)
    await new Promise(requestAnimationFrame)
    return performance.now()
  },
  close() {
    for (const worker of workers.values()) worker.terminate()
    workers.clear()
    model?.dispose()
    model = null
  },
}

Object.assign(globalThis, { bench })
