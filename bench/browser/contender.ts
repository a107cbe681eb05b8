/** What a contender needs to know of the network that it runs. */
export interface Task {
  /** Address of the graph: ONNX, or TensorFlow.js' model.json. */
  readonly graph: string
  /** Of one picture. */
  readonly shape: { readonly channels: number; readonly height: number; readonly width: number }
  readonly labelled: boolean
  /** Pictures at once. */
  readonly count: number
  readonly device: 'wasm' | 'webgpu'
  readonly threads: number
}

/** Something that computes steps, in a worker of its own. */
export interface Contender {
  /** One evaluation on given inputs, for comparison; the output. */
  check(): Promise<Float32Array>
  /** So many steps, one after the other; done when the last is. */
  run(steps: number): Promise<void>
}

/** Makes a contender of a task; `kind` is one of those that the worker knows. */
export type Opener = (kind: string, task: Task) => Promise<Contender>

export type Request =
  | { readonly type: 'open'; readonly kind: string; readonly task: Task }
  | { readonly type: 'check' }
  | { readonly type: 'run'; readonly steps: number }

export type Reply =
  | { readonly type: 'done'; readonly milliseconds: number; readonly output: Float32Array | null }
  | { readonly type: 'failed'; readonly message: string }

/** Lets the page open and run a contender in this worker. */
export function answer(open: Opener): void {
  let contender: Contender
  const work = async (request: Request): Promise<Float32Array | null> => {
    if (request.type === 'open') contender = await open(request.kind, request.task)
    if (request.type === 'run') await contender.run(request.steps)
    return request.type === 'check' ? contender.check() : null
  }
  self.onmessage = async ({ data }: MessageEvent<Request>) => {
    const began = performance.now()
    const reply: Reply = await work(data).then(
      (output) => ({ type: 'done', milliseconds: performance.now() - began, output }),
      (error) => ({ type: 'failed', message: String(error?.message ?? error) }),
    )
    self.postMessage(reply)
  }
}

/** Inputs that every contender gets in `check`: numbers of the size that noise has, and a timestep in the middle. */
export function probe({ shape, count, labelled }: Task) {
  const { channels, height, width } = shape
  const size = count * channels * height * width
  return {
    dims: [count, channels, height, width],
    x: Float32Array.from({ length: size }, (_, i) => 2 * Math.sin(i * 12.9898)),
    timestep: new Float32Array(count).fill(500),
    label: labelled ? new Float32Array(count).fill(1) : null,
  }
}
