import type { Model, SampleOptions } from '../../edge/sampler/browser.ts'
import type { Reply, Request, Task } from './contender.ts'

/** What the benchmark asks of its page, by way of the browser's debugger. */
export interface Bench {
  /** Starts a contender in a worker of its own: `script` is its bundle. */
  open(name: string, script: string, kind: string, task: Task): Promise<void>
  /** The output of one evaluation on inputs that are the same for all. */
  check(name: string): Promise<number[]>
  /** Milliseconds of so many steps. */
  run(name: string, steps: number): Promise<number>
  /** Opens a model with the sampler module; what it runs on. */
  load(address: string, device: 'wasm' | 'webgpu'): Promise<string>
  /** Milliseconds of a drawing, pictures on their way included. */
  sample(options: SampleOptions): Promise<number>
  /** Opens a model and draws one picture: milliseconds from the start of the navigation until it is on a canvas. */
  visit(address: string, device: 'wasm' | 'webgpu', steps: number): Promise<number>
  /** Gives up all that was opened. */
  close(): void
}

const workers = new Map<string, Worker>()
let model: Model | null = null

function ask(name: string, request: Request): Promise<Extract<Reply, { type: 'done' }>> {
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
    await ask(name, { type: 'open', kind, task })
  },
  async check(name) {
    const { output } = await ask(name, { type: 'check' })
    return [...output!]
  },
  async run(name, steps) {
    const { milliseconds } = await ask(name, { type: 'run', steps })
    return milliseconds
  },
  async load(address, device) {
    const module = '/sampler.js'
    const { load } = (await import(module)) as typeof import('../../edge/sampler/browser.ts')
    model = await load(address, { device })
    return model.deviceReason
  },
  async sample(options) {
    const began = performance.now()
    await model!.sample({ ...options, onStep() {} })
    return performance.now() - began
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
