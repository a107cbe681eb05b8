import type { Manifest, Network } from '@ddpm/shared'
import { failureOf } from './errors.ts'

/**
 * Bytes that a picture's activations take at once, per pixel, which nothing in a manifest says: 1400 and 1800 were
 * measured with the digits' and the shapes' network on WebAssembly; wider ones take more.
 */
const bytesPerPixel = 4096

/**
 * How many pictures a network is given at once at first: what a sixteenth of the device's memory holds.
 * @param deviceMemory in GiB, where the browser says it
 */
export function picturesAtOnce({ height, width }: Manifest['shape'], deviceMemory = 4): number {
  const room = (deviceMemory * 2 ** 30) / 16
  return Math.max(1, Math.floor(room / (height * width * bytesPerPixel)))
}

/**
 * A network that is given a few of the pictures at a time, and fewer where memory does not suffice: what they become is
 * the same.
 * @param onFewer is told to how many it had to go down
 * @throws what the network throws; where memory does not suffice for one picture, that
 */
export function inBatches(network: Network, most: number, onFewer: (pictures: number) => void): Network {
  let atOnce = most
  return async (x, timestep, label) => {
    const count = timestep.length
    const size = x.length / count
    let all: Float32Array | null = null
    for (let start = 0; start < count; ) {
      // Of equal sizes, for WebGPU compiles for each.
      const end = Math.min(start + Math.ceil(count / Math.ceil(count / atOnce)), count)
      try {
        const pictures = x.subarray(start * size, end * size)
        const values = await network(
          pictures,
          timestep.subarray(start, end),
          label?.subarray(start, end) ?? null,
        )
        if (end - start === count) return values
        const stride = values.length / (end - start)
        all ??= new Float32Array(count * stride)
        all.set(values, start * stride)
        start = end
      } catch (error) {
        if (end - start === 1 || failureOf(error).code !== 'out-of-memory') throw error
        atOnce = Math.ceil((end - start) / 2)
        onFewer(atOnce)
      }
    }
    return all!
  }
}
