// JSON messages from the dashboard server to its page.

/** Quantities that the page plots, by their names in metrics.jsonl. */
export const quantities = ['loss', 'gradientNorm', 'learningRate', 'imagesPerSecond'] as const
export type Quantity = (typeof quantities)[number]

/** A training step in metrics.jsonl. */
export type StepLine = Readonly<Record<Quantity, number>> & { readonly step: number }

/** Properties of a run that do not change while it trains. */
export interface RunFacts {
  readonly name: string
  /** Description of the dataset. */
  readonly images: string
  /** Number of trained parameters. */
  readonly parameters: number
  /** Floating-point operations per step. */
  readonly flops: number
  readonly steps: number
  readonly batchSize: number
  readonly sampleEvery: number
  readonly recipe: Readonly<Record<string, unknown>>
}

export type RunState = 'running' | 'finished' | 'stopped' | 'failed'

export interface Sample {
  readonly step: number
  readonly url: string
}

/** New points of the curves, and the current state of the run. */
export interface Update {
  /** Index of the first point in this update. The update replaces this point and all later ones. */
  readonly from: number
  /** Number of steps per point. The value of a point is the mean over its steps. */
  readonly stride: number
  /** The last step of each point. */
  readonly steps: readonly number[]
  readonly values: Readonly<Record<Quantity, readonly number[]>>
  readonly validation: readonly { readonly step: number; readonly loss: number }[]
  readonly samples: readonly Sample[]
  /** The last finished step. */
  readonly latest: StepLine | null
  readonly state: RunState
}

/** Content of a report, inlined in its page. */
export interface ReportData {
  readonly facts: RunFacts
  readonly update: Update
}
