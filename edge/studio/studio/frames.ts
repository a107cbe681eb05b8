/** The frames of one drawing, to go back and forth in, within a bound of memory. */

export interface Frame {
  /** Steps done; 0 is what the drawing starts from. */
  readonly step: number
  readonly steps: number
  /** The timestep of the last step; null before the first. */
  readonly t: number | null
  /** Each picture on its way, and the clean picture that the network saw in it, null before it was asked. */
  readonly x: readonly ImageData[]
  readonly x0: readonly ImageData[] | null
}

export interface Film {
  add(frame: Frame): void
  readonly frames: readonly Frame[]
}

/** 64 MB: 480 steps of sixteen colour pictures of 32 × 32. */
const bound = 64e6

/**
 * Takes frames as they come. When they take more room than `most` bytes, every second one is let go, and from then on
 * only every second, fourth … is taken; first and last always stay.
 */
export function createFilm(most = bound): Film {
  const kept: Frame[] = []
  /** The latest frame that the stride would leave out: it stays until the next comes. */
  let passing: Frame | null = null
  let stride = 1
  let seen = 0
  return {
    add(frame) {
      passing = null
      if (seen++ % stride === 0) kept.push(frame)
      else passing = frame
      while (kept.length > 2 && bytesOf(kept) > most) {
        stride *= 2
        const last = kept.at(-1)!
        const thinned = kept.filter((_, i) => i % 2 === 0)
        if (kept.length % 2 === 0) passing ??= last
        kept.splice(0, kept.length, ...thinned)
      }
    },
    get frames() {
      return passing ? [...kept, passing] : kept
    },
  }
}

function bytesOf(frames: readonly Frame[]): number {
  const size = (images: readonly ImageData[] | null) =>
    (images ?? []).reduce((sum, { data }) => sum + data.byteLength, 0)
  return frames.reduce((sum, { x, x0 }) => sum + size(x) + size(x0), 0)
}

/** Films of parts of one drawing, frame by frame side by side. */
export function spliced(films: readonly (readonly Frame[])[]): Frame[] {
  const length = Math.min(...films.map((frames) => frames.length))
  return Array.from({ length }, (_, i) => {
    const row = films.map((frames) => frames[i]!)
    const x0 = row.every(({ x0 }) => x0) ? row.flatMap(({ x0 }) => x0!) : null
    return { ...row[0]!, x: row.flatMap(({ x }) => x), x0 }
  })
}
