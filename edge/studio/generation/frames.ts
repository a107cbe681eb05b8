/** The frames of one generation, within a memory limit. */

export interface Frame {
  /** Steps done; 0 for the start of the generation. */
  readonly step: number
  /** Total number of steps. */
  readonly steps: number
  /** Timestep of the last step; null before the first one. */
  readonly t: number | null
  /** x_t of each image. */
  readonly x: readonly ImageData[]
  /** Predicted x̂₀ of each image; null before the first step. */
  readonly x0: readonly ImageData[] | null
}

export interface FrameBuffer {
  add(frame: Frame): void
  readonly frames: readonly Frame[]
}

/** 64 MB: 480 steps of sixteen colour images of 32 × 32. */
const defaultMaxBytes = 64e6

/**
 * Creates a buffer that retains evenly spaced frames within `maxBytes`. Whenever the limit is exceeded, it drops every
 * second frame and doubles its stride. It always retains the first and the last frame.
 */
export function createFrameBuffer(maxBytes = defaultMaxBytes): FrameBuffer {
  const stored: Frame[] = []
  /** The latest frame, if it is not a multiple of the stride. The next frame replaces it. */
  let last: Frame | null = null
  let stride = 1
  let added = 0
  return {
    add(frame) {
      last = null
      if (added++ % stride === 0) stored.push(frame)
      else last = frame
      while (stored.length > 2 && byteLength(stored) > maxBytes) {
        stride *= 2
        const newest = stored.at(-1)!
        const thinned = stored.filter((_, i) => i % 2 === 0)
        if (stored.length % 2 === 0) last ??= newest
        stored.splice(0, stored.length, ...thinned)
      }
    },
    get frames() {
      return last ? [...stored, last] : stored
    },
  }
}

function byteLength(frames: readonly Frame[]): number {
  const size = (images: readonly ImageData[] | null) =>
    (images ?? []).reduce((sum, { data }) => sum + data.byteLength, 0)
  return frames.reduce((sum, { x, x0 }) => sum + size(x) + size(x0), 0)
}

/** Combines the frames of several parts of one generation: frame i contains the images of all parts at step i. */
export function mergeFrames(parts: readonly (readonly Frame[])[]): Frame[] {
  const length = Math.min(...parts.map((frames) => frames.length))
  return Array.from({ length }, (_, i) => {
    const row = parts.map((frames) => frames[i]!)
    const x0 = row.every(({ x0 }) => x0) ? row.flatMap(({ x0 }) => x0!) : null
    return { ...row[0]!, x: row.flatMap(({ x }) => x), x0 }
  })
}
