import type { Candidate, Engine, TrainingState } from '../step/engine.ts'
import type { StepSpec } from '../step/spec.ts'

export interface EngineOptions {
  /** Number of CPU threads. Default: one per core. */
  readonly threads?: number
}

/**
 * Opens an engine. Only the packages of this engine are loaded.
 * @param tables constants of the network by name, such as the time embedding
 * @param state initial state; the engine may overwrite it, so the caller must not use it any more
 * @throws UserError that lists what to install, if the engine cannot compute on the device
 */
export async function openEngine(
  { engine, device }: Candidate,
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  options: EngineOptions = {},
): Promise<Engine> {
  switch (engine) {
    case 'onnxruntime': {
      const { createOnnxruntimeEngine } = await import('./onnxruntime.ts')
      return createOnnxruntimeEngine(spec, tables, state, { device, ...options })
    }
    case 'tfjs': {
      const { createTfjsEngine } = await import('./tfjs.ts')
      return createTfjsEngine(spec, tables, state, device)
    }
  }
}
