import type { NamedTensors } from '../../network/parameters.ts'
import { dataTypes, decodeModel } from './emit/schema.ts'

/** The weights in an ONNX file, and its metadata. */
export interface OnnxWeights {
  /** Float32 initializers by name. In an exported model these are the names of the state_dict. */
  readonly tensors: NamedTensors
  /** `metadata_props` of the model. */
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * Reads the float32 initializers of an ONNX file. Other data types are omitted.
 * @throws Error if the bytes are not an ONNX file
 */
export function readInitializers(bytes: Uint8Array): OnnxWeights {
  const { graph, metadataProps } = decodeModel(bytes)
  const tensors = graph.initializer
    .filter(({ dataType }) => dataType === dataTypes.float)
    .map(({ name, dims, rawData }) => {
      // Copied, because a Float32Array must start at a multiple of 4 bytes.
      const data = new Float32Array(new Uint8Array(rawData).buffer)
      return [name, { shape: dims, data }] as const
    })
  return {
    tensors: new Map(tensors),
    metadata: Object.fromEntries(metadataProps.map(({ key, value }) => [key, value])),
  }
}
