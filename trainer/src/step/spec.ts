import type { UNetConfig } from '../network/config.ts'
import type { AdamConfig } from './optimizer.ts'

/** A network and the size of its images. */
export interface NetworkSpec {
  readonly unet: UNetConfig
  readonly height: number
  readonly width: number
}

/** Everything that determines the graph of a training step. */
export interface StepSpec extends NetworkSpec {
  /** Number of images per micro-batch. The activations of all of them are in memory at the same time. */
  readonly batch: number
  /** Number of micro-batches per step. Default: 1. */
  readonly accumulate?: number
  readonly adam: AdamConfig
  /** Max norm of the gradient; null to disable clipping. */
  readonly clipNorm: number | null
  /** Variational table of the schedule (objective/variational.ts), if the network learns variances. */
  readonly variational?: Float32Array
}
