import ort from 'onnxruntime-node'

/** Values by the name of the graph's input or output. */
export type Tensors = Readonly<Record<string, ort.Tensor>>

/** Vectors that a graph takes under their names and gives back, changed, with `next.` before them. */
export interface Vectors {
  feeds(): Tensors
  /** Where a run shall put the next ones; null lets it make the tensors itself. */
  fetches(): Readonly<Record<string, ort.Tensor | null>>
  /** Makes the next ones, from the results of a run, the present ones. */
  advance(results: Tensors): void
  /** Forgets the next ones; the present ones stay. */
  discard(results: Tensors): void
  /** Makes all of them zero. */
  clear(): void
  dispose(): void
}

const nextName = (name: string) => `next.${name}`

/** Two sets of buffers in host memory, made once: a run reads one and writes the other. */
export function hostVectors(sets: readonly [Tensors, Tensors]): Vectors & { present(): 0 | 1 } {
  let present: 0 | 1 = 0
  return {
    present: () => present,
    feeds: () => sets[present],
    fetches: () =>
      Object.fromEntries(
        Object.entries(sets[1 - present]!).map(([name, tensor]) => [nextName(name), tensor]),
      ),
    advance() {
      present = present === 0 ? 1 : 0
    },
    discard() {},
    clear() {
      for (const { data } of Object.values(sets[present])) (data as Float32Array).fill(0)
    },
    dispose() {},
  }
}

/** Tensors that stay in the memory of the graphics card; each run makes new ones. See onDevice. */
export function deviceVectors(given: Tensors): Vectors {
  const names = Object.keys(given)
  let present = given
  const drop = (tensors: Tensors) => {
    for (const tensor of Object.values(tensors)) tensor.dispose()
  }
  const nextOf = (results: Tensors) =>
    Object.fromEntries(names.map((name) => [name, results[nextName(name)]!]))
  return {
    feeds: () => present,
    fetches: () => Object.fromEntries(names.map((name) => [nextName(name), null])),
    advance(results) {
      drop(present)
      present = nextOf(results)
    },
    discard: (results) => drop(nextOf(results)),
    clear() {
      const zeros = Object.entries(present).map(
        ([name, { dims, size }]) => [name, new ort.Tensor('float32', new Float32Array(size), dims)] as const,
      )
      drop(present)
      present = Object.fromEntries(zeros)
    },
    dispose: () => drop(present),
  }
}

/** Has a session leave the next ones of some vectors on the device: in Node only WebGPU can. */
export function onDevice(names: readonly string[]): ort.InferenceSession.SessionOptions {
  return { preferredOutputLocation: Object.fromEntries(names.map((name) => [nextName(name), 'gpu-buffer'])) }
}
