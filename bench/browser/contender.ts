/** The network that a contender runs, and the settings for it. */
export interface Task {
  /** URL of the graph: an ONNX file, or model.json of TensorFlow.js. */
  readonly graph: string
  /** Shape of one image. */
  readonly shape: { readonly channels: number; readonly height: number; readonly width: number }
  readonly labelled: boolean
  /** Batch size. */
  readonly count: number
  readonly device: 'wasm' | 'webgpu'
  readonly threads: number
}

/** An implementation that computes steps, in its own worker. */
export interface Contender {
  /** Evaluates the network once on the comparison inputs and returns the output. */
  check(): Promise<Float32Array>
  /** Runs steps one after the other. */
  run(steps: number): Promise<void>
}

/** Creates a contender of a kind that the worker supports. */
export type Opener = (kind: string, task: Task) => Promise<Contender>

export type Request =
  | { readonly type: 'open'; readonly kind: string; readonly task: Task }
  | { readonly type: 'check' }
  | { readonly type: 'run'; readonly steps: number }

export type Reply =
  | { readonly type: 'done'; readonly milliseconds: number; readonly output: Float32Array | null }
  | { readonly type: 'failed'; readonly message: string }

/** Handles the page's messages: opens and runs a contender in this worker. */
export function answer(open: Opener): void {
  let contender: Contender
  const handle = async (request: Request): Promise<Float32Array | null> => {
    if (request.type === 'open') contender = await open(request.kind, request.task)
    if (request.type === 'run') await contender.run(request.steps)
    return request.type === 'check' ? contender.check() : null
  }
  self.onmessage = async ({ data }: MessageEvent<Request>) => {
    const start = performance.now()
    const reply: Reply = await handle(data).then(
      (output) => ({ type: 'done', milliseconds: performance.now() - start, output }),
      (error) => ({ type: 'failed', message: String(error?.message ?? error) }),
    )
    self.postMessage(reply)
  }
}

/** Returns the comparison inputs: values of the magnitude of noise, and the timestep 500. */
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
