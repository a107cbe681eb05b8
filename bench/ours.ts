// This project's side of the training benchmark. It runs in its own process so that its peak memory can be measured, and
// follows the protocol of contender.ts. peer.py is PyTorch's side.
import { createInterface } from 'node:readline'
import { createOnnxruntimeEngine } from '../trainer/src/engines/onnxruntime.ts'
import { createParameterLayout, createTables, flatten } from '../trainer/src/network/parameters.ts'
import { parameterSpecs } from '../trainer/src/network/unet.ts'
import { initialState } from '../trainer/src/step/engine.ts'
import { stepScalars } from '../trainer/src/step/optimizer.ts'
import type { Block } from './contender.ts'
import { readTask } from './task.ts'

// Ctrl+C reaches the whole process group. The benchmark ends this process instead.
process.on('SIGINT', () => {})

async function prepare(folder: string) {
  const { task, weights, batches } = readTask(folder)
  const layout = createParameterLayout(parameterSpecs(task.unet))
  const state = initialState(flatten(layout, weights, 'weights.safetensors'))
  return { task, batches, engine: await createOnnxruntimeEngine(task, createTables(layout), state, task) }
}

const { task, batches, engine } = await prepare(process.argv[2]!)

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

console.log(JSON.stringify(engine.description))
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await block(Number(line))))
}
