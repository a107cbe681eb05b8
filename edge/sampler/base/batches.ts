import type { Manifest, Network } from '@ddpm/shared'

/**
 * Estimated memory for a network's activations, in bytes per pixel and image. The manifest does not contain this value.
 * Measured on WebAssembly: 1400 for the digits model, 1800 for the shapes model; wider networks need more.
 */
const bytesPerPixel = 4096

/**
 * Estimates the initial number of images per forward pass: as many as fit into a sixteenth of the device's memory.
 * @param deviceMemory in GiB, if the browser reports it
 */
export function estimateBatchSize({ height, width }: Manifest['shape'], deviceMemory = 4): number {
  const budget = (deviceMemory * 2 ** 30) / 16
  return Math.max(1, Math.floor(budget / (height * width * bytesPerPixel)))
}

/**
 * Splits `count` images into batches of at most `max`, as index ranges [start, end). Sizes are equal as far as
 * possible, because WebGPU compiles shaders for each batch size.
 */
export function splitBatches(count: number, max: number): { start: number; end: number }[] {
  const size = Math.ceil(count / Math.ceil(count / max))
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => ({
    start: i * size,
    end: Math.min((i + 1) * size, count),
  }))
}

/** Wraps a network so that it evaluates at most `max` images at a time. */
export function runInBatches(network: Network, max: number): Network {
  return async (x, timestep, label) => {
    const count = timestep.length
    if (count <= max) return network(x, timestep, label)
    const size = x.length / count
    let output: Float32Array | null = null
    for (const { start, end } of splitBatches(count, max)) {
      const images = x.subarray(start * size, end * size)
      const labels = label?.subarray(start, end) ?? null
      const values = await network(images, timestep.subarray(start, end), labels)
      const stride = values.length / (end - start)
      output ??= new Float32Array(count * stride)
      output.set(values, start * stride)
    }
    return output!
  }
}
