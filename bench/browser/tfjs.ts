import * as wasm from '@tensorflow/tfjs-backend-wasm'
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter'
import { env, type NamedTensorMap, setBackend, type Tensor, tensor } from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-webgpu'
import { answer, probe } from './contender.ts'

/** Runs the graph model of the same network in TensorFlow.js, with the backend for the same device. */
answer(async (_, task) => {
  env().set('PROD', true)
  wasm.setWasmPaths(new URL('tfjs/', self.location.href).href)
  wasm.setThreadsCount(task.threads)
  if (!(await setBackend(task.device)))
    throw new Error(`Cannot run TensorFlow.js: it has no backend for ${task.device} in this browser.`)
  const model: GraphModel = await loadGraphModel(task.graph)
  const { dims, x, timestep, label } = probe(task)
  const feeds: NamedTensorMap = {
    x: tensor(x, dims as [number, number, number, number]),
    timestep: tensor(timestep),
    ...(label && { label: tensor(label) }),
  }
  const predict = async () => {
    const output = model.predict(feeds) as Tensor
    const values = await output.data()
    output.dispose()
    return values as Float32Array
  }
  return {
    check: predict,
    async run(steps) {
      for (let i = 0; i < steps; i++) await predict()
    },
  }
})
