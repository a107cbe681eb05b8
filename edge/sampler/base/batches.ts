import type { Manifest, Network } from '@ddpm/shared'

/**
 * Bytes that a picture's activations take at once, per pixel, which nothing in a manifest says: 1400 and 1800 were
 * measured with the digits' and the shapes' network on WebAssembly; wider ones take more.
 */
const bytesPerPixel = 4096

/**
 * How many pictures a network is given at once at first: what a sixteenth of the device's memory holds.
 * @param deviceMemory in GiB, where the browser says it
 */
export function imagesAtOnce({ height, width }: Manifest['shape'], deviceMemory = 4): number {
  const room = (deviceMemory * 2 ** 30) / 16
  return Math.max(1, Math.floor(room / (height * width * bytesPerPixel)))
}

/** Pictures `start` to `end` of each group: groups of equal sizes as far as that goes, for WebGPU compiles for each size. */
export function groupsOf(count: number, most: number): { start: number; end: number }[] {
  const each = Math.ceil(count / Math.ceil(count / most))
  return Array.from({ length: Math.ceil(count / each) }, (_, i) => ({
    start: i * each,
    end: Math.min((i + 1) * each, count),
  }))
}

/** A network that is given a few of the pictures at a time. */
export function inBatches(network: Network, most: number): Network {
  return async (x, timestep, label) => {
    const count = timestep.length
    if (count <= most) return network(x, timestep, label)
    const size = x.length / count
    let all: Float32Array | null = null
    for (const { start, end } of groupsOf(count, most)) {
      const images = x.subarray(start * size, end * size)
      const labels = label?.subarray(start, end) ?? null
      const values = await network(images, timestep.subarray(start, end), labels)
      const stride = values.length / (end - start)
      all ??= new Float32Array(count * stride)
      all.set(values, start * stride)
    }
    return all!
  }
}
