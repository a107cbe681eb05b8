import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import '@tensorflow/tfjs-backend-cpu'
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter'
import { env, io, type NamedTensorMap, type Tensor, tensor, tidy } from '@tensorflow/tfjs-core'
import type { ModelFile } from '../../trainer/src/compile/tfjs/model.ts'

// Without it, tfjs recommends its other backends at length.
env().set('PROD', true)

/** Values fed to a model. */
export interface Feed {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** A graph model as TensorFlow.js itself reads and runs it. */
export interface TfjsModel {
  readonly graph: GraphModel
  run(feeds: Readonly<Record<string, Feed>>): { shape: number[]; values: Float32Array }
}

/** The files of a graph model in a folder. */
export function readGraphModel(folder: string): ModelFile[] {
  return readdirSync(folder).map((path) => ({ path, bytes: readFileSync(join(folder, path)) }))
}

/** Opens the files of a graph model with tfjs-converter, on tfjs' backend of plain JavaScript. */
export async function openTfjs(files: readonly ModelFile[]): Promise<TfjsModel> {
  const bytesOf = (path: string) => {
    const file = files.find((file) => file.path === path)
    if (!file) throw new Error(`There is no ${path} among ${files.map(({ path }) => path)}.`)
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
      const found = tidy(() => {
        const tensors: NamedTensorMap = Object.fromEntries(
          Object.entries(feeds).map(([name, { shape, values }]) => [
            name,
            tensor(values, [...shape], 'float32'),
          ]),
        )
        return graph.predict(tensors) as Tensor
      })
      const values = found.dataSync() as Float32Array
      found.dispose()
      return { shape: found.shape, values }
    },
  }
}
