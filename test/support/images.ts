import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type GenerateOptions, generate, graphFile, type Manifest, type Network, toRgba } from '@ddpm/shared'
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

/** Returns the RGBA bytes of each image of a batch: [count, channels, height, width]. */
export function toRgbaImages(values: Float32Array, { shape }: Pick<Manifest, 'shape'>): number[][] {
  const count = values.length / (shape.channels * shape.height * shape.width)
  return Array.from({ length: count }, (_, i) => [...toRgba(values, i, shape)])
}

/** Options of the sampler module. Its `class` is the `className` of `generate`. */
export type ReferenceOptions = GenerateOptions & { readonly class?: string | null }

/** Generates images in Node and returns their RGBA bytes. */
export async function generateReference(
  manifest: Manifest,
  network: Network,
  { class: className, ...options }: ReferenceOptions,
): Promise<number[][]> {
  const values = await generate(manifest, network, { ...options, ...(className && { className }) })
  return toRgbaImages(values, manifest)
}

/** Asserts that the RGBA bytes of images differ by at most 2/255. Devices round differently. */
export function assertSameImages(actual: number[][], expected: number[][]): void {
  assert.equal(actual.length, expected.length)
  const differences = actual.flatMap((image, i) => image.map((byte, k) => Math.abs(byte - expected[i]![k]!)))
  assert.equal(differences.length, expected.flat().length)
  const max = differences.reduce((a, b) => Math.max(a, b), 0)
  assert.ok(max <= 2, `images differ by up to ${max}/255`)
}
