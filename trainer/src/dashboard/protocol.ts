/** What is said to the page about a run; all of it is JSON. */

/** The quantities of a step that are drawn, as metrics.jsonl names them. */
export const quantities = ['loss', 'gradientNorm', 'learningRate', 'imagesPerSecond'] as const
export type Quantity = (typeof quantities)[number]

/** One step as metrics.jsonl has it. */
export type StepLine = Readonly<Record<Quantity, number>> & { readonly step: number }

/** What stays the same while a run goes on. */
export interface RunFacts {
  readonly name: string
  readonly images: string
  readonly parameters: number
  /** Floating point operations of a step. */
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

/** Points of the curves, and where the run is. */
export interface Update {
  /** The points from this one on are replaced. */
  readonly from: number
  /** How many steps a point is the mean of; its step is the last of them. */
  readonly stride: number
  readonly steps: readonly number[]
  readonly values: Readonly<Record<Quantity, readonly number[]>>
  readonly validation: readonly { readonly step: number; readonly loss: number }[]
  readonly samples: readonly Sample[]
  /** The last step done. */
  readonly latest: StepLine | null
  readonly state: RunState
}

/** What a page is built with: in a report everything, in a live page nothing. */
export interface Inlined {
  readonly facts: RunFacts
  readonly update: Update
}
