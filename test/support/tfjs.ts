import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import '@tensorflow/tfjs-backend-cpu'
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter'
import { env, io, type NamedTensorMap, type Tensor, tensor, tidy } from '@tensorflow/tfjs-core'
import type { ModelFile } from '../../trainer/src/compile/tfjs/model.ts'

// In production mode, TensorFlow.js does not print recommendations of other backends.
env().set('PROD', true)

/** Input of a model. */
export interface Feed {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** A graph model that TensorFlow.js has loaded. */
export interface TfjsModel {
  readonly graph: GraphModel
  /** Runs the model and returns its only output. */
  run(feeds: Readonly<Record<string, Feed>>): { shape: number[]; values: Float32Array }
}

/** Reads the files of a graph model from a folder. */
export function readGraphModel(folder: string): ModelFile[] {
  return readdirSync(folder).map((path) => ({ path, bytes: readFileSync(join(folder, path)) }))
}

/** Loads a graph model with tfjs-converter. It runs on the plain JavaScript backend. */
export async function openTfjs(files: readonly ModelFile[]): Promise<TfjsModel> {
  const bytesOf = (path: string) => {
    const file = files.find((file) => file.path === path)
    if (!file)
      throw new Error(
        `Missing file ${path} in the graph model: its files are ${files.map(({ path }) => path).join(', ')}.`,
      )
    return file.bytes
  }
  const json: io.ModelJSON = JSON.parse(Buffer.from(bytesOf('model.json')).toString())
  const graph = await loadGraphModel({
    load: () =>
      io.getModelArtifactsForJSON(json, async (manifest) => [
        io.getWeightSpecs(manifest),
        Uint8Array.from(Buffer.concat(manifest.flatMap(({ paths }) => paths.map(bytesOf)))).buffer,
      ]),
  })
  return {
    graph,
    run: (feeds) => {
      const output = tidy(() => {
        const tensors: NamedTensorMap = Object.fromEntries(
          Object.entries(feeds).map(([name, { shape, values }]) => [
            name,
            tensor(values, [...shape], 'float32'),
          ]),
        )
        return graph.predict(tensors) as Tensor
      })
      const values = output.dataSync() as Float32Array
      output.dispose()
      return { shape: output.shape, values }
    },
  }
}
