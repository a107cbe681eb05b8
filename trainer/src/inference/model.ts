import { createHash } from 'node:crypto'
import type { ModelInfo, Network } from '@ddpm/shared'
import { readExported } from '../run/exported.ts'
import { modelInfoOf, openCheckpoint } from '../run/run.ts'
import ort from '../support/onnxruntime-node.ts'
import { graphNames, toOnnxModel, type WeightsKind } from './graph.ts'

/** A model that is loaded in this process and ready for sampling. */
export interface OpenedModel {
  readonly info: ModelInfo
  readonly network: Network
  /** Human-readable: the file or model name and its weights. */
  readonly description: string
  /** SHA-256 of the ONNX file: graph and weights. */
  readonly digest: string
  dispose(): Promise<void>
}

/**
 * Opens a run's folder, one of its checkpoints, or the folder of an exported model.
 * @throws UserError if the path is none of these
 */
export async function openModel(path: string, weights: WeightsKind): Promise<OpenedModel> {
  const exported = readExported(path)
  if (exported !== null) {
    const { manifest, graph } = exported
    const { sample, timestep, label } = manifest.inputs
    const names = { sample, timestep, label: label ?? graphNames.label, output: manifest.output }
    return openGraph(graph, manifest, names, `exported model ${manifest.name}`)
  }
  const { run, path: file, checkpoint } = openCheckpoint(path)
  const description = `${file}, ${weights === 'ema' ? 'averaged' : 'raw'} weights after ${checkpoint.progress.step} steps`
  const bytes = toOnnxModel(run.config, checkpoint, weights)
  return openGraph(bytes, modelInfoOf(run.config), graphNames, description)
}

type GraphNames = { readonly [K in keyof typeof graphNames]: string }

/**
 * Opens an ONNX file of a network with onnxruntime on the CPU.
 * @param names the graph's inputs and output
 */
export async function openGraph(
  bytes: Uint8Array,
  info: ModelInfo,
  names: GraphNames = graphNames,
  description = 'an ONNX graph',
): Promise<OpenedModel> {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['cpu'] })
  const { channels, height, width } = info.shape
  return {
    info,
    description,
    digest: createHash('sha256').update(bytes).digest('hex'),
    async network(x, timestep, label) {
      const results = await session.run({
        [names.sample]: new ort.Tensor('float32', x, [timestep.length, channels, height, width]),
        [names.timestep]: new ort.Tensor('float32', timestep, [timestep.length]),
        ...(label && { [names.label]: new ort.Tensor('float32', label, [label.length]) }),
      })
      return results[names.output]!.data as Float32Array
    },
    dispose: () => session.release(),
  }
}
