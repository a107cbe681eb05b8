import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { graphFile, type Manifest, type Network } from '@ddpm/shared'
import * as ort from 'onnxruntime-node'

/** The network of an exported model in onnxruntime-node. */
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

/** RGBA bytes per picture, equal within 2/255 at every pixel: devices round differently. */
export function assertSameImages(found: number[][], expected: number[][]): void {
  assert.equal(found.length, expected.length)
  const differences = found.flatMap((image, i) => image.map((byte, k) => Math.abs(byte - expected[i]![k]!)))
  assert.equal(differences.length, expected.flat().length)
  const worst = differences.reduce((most, difference) => Math.max(most, difference), 0)
  assert.ok(worst <= 2, `pictures differ by up to ${worst}/255`)
}
