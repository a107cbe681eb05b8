import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { graphFile, type Manifest, type Network } from '@ddpm/shared'
import ort from '../../trainer/src/support/onnxruntime-node.ts'

/** Opens the network of an exported model in onnxruntime-node. */
export async function nodeNetwork(folder: string, manifest: Manifest): Promise<Network> {
  const session = await ort.InferenceSession.create(await readFile(join(folder, graphFile(manifest).path)))
  const { channels, height, width } = manifest.shape
  return async (x, timestep, label) => {
    const count = timestep.length
    const feeds = {
      [manifest.inputs.sample]: new ort.Tensor('float32', x, [count, channels, height, width]),
      [manifest.inputs.timestep]: new ort.Tensor('float32', timestep, [count]),
      [manifest.inputs.label!]: new ort.Tensor('float32', label!, [count]),
    }
    return (await session.run(feeds))[manifest.output]!.data as Float32Array
  }
}

/** Asserts that the RGBA bytes of images differ by at most 2/255. Devices round differently. */
export function assertSameImages(actual: number[][], expected: number[][]): void {
  assert.equal(actual.length, expected.length)
  const differences = actual.flatMap((image, i) => image.map((byte, k) => Math.abs(byte - expected[i]![k]!)))
  assert.equal(differences.length, expected.flat().length)
  const max = differences.reduce((a, b) => Math.max(a, b), 0)
  assert.ok(max <= 2, `images differ by up to ${max}/255`)
}
