// This project's side of the training benchmark. It runs in its own process so that its peak memory can be measured, and
// follows the protocol of contender.ts. peer.py is PyTorch's side. Arguments: FOLDER [ENGINE DEVICE].
import { createInterface } from 'node:readline'
import { openEngine } from '../trainer/src/engines/open.ts'
import { createParameterLayout, createTables, flatten } from '../trainer/src/network/parameters.ts'
import { parameterSpecs } from '../trainer/src/network/unet.ts'
import { type Candidate, initialState } from '../trainer/src/step/engine.ts'
import { stepScalars } from '../trainer/src/step/optimizer.ts'
import type { Block, Request } from './contender.ts'
import { readTask } from './task.ts'

// Ctrl+C reaches the whole process group. The benchmark ends this process instead.
process.on('SIGINT', () => {})

async function prepare(folder: string, { engine, device }: Candidate) {
  const { task, weights, batches } = readTask(folder)
  const layout = createParameterLayout(parameterSpecs(task.unet))
  const state = initialState(flatten(layout, weights, 'weights.safetensors'))
  const opened = await openEngine({ engine, device }, task, createTables(layout), state, {
    threads: task.threads,
  })
  return { task, batches, engine: opened }
}

const [folder, engineName = 'onnxruntime', device = 'cpu'] = process.argv.slice(2)
const { task, batches, engine } = await prepare(folder!, {
  engine: engineName,
  device,
} as Candidate)

let done = 0
async function block(steps: number): Promise<Block> {
  const losses: number[] = []
  const milliseconds: number[] = []
  for (let i = 0; i < steps; i++) {
    const start = performance.now()
    const batch = batches[done++ % batches.length]!
    const scalars = stepScalars(task.adam, { ...task, step: done, weightDecay: 0 })
    losses.push((await engine.step([batch], scalars)).loss)
    milliseconds.push(performance.now() - start)
  }
  return { losses, milliseconds, peakBytes: process.resourceUsage().maxRSS * 1024 }
}

/** Returns the milliseconds of each evaluation of the network. */
async function predict(images: number, times: number): Promise<number[]> {
  const { unet, height, width } = task
  const x = new Float32Array(images * unet.inputChannels * height * width).fill(0.5)
  const timestep = new Float32Array(images).fill(500)
  const milliseconds: number[] = []
  for (let i = 0; i < times; i++) {
    const start = performance.now()
    await engine.predict('raw', x, timestep, null)
    milliseconds.push(performance.now() - start)
  }
  return milliseconds
}

console.log(JSON.stringify(engine.description))
for await (const line of createInterface({ input: process.stdin })) {
  const { steps, images, times } = JSON.parse(line) as Request
  console.log(JSON.stringify(steps === undefined ? await predict(images!, times!) : await block(steps)))
}
