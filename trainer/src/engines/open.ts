import type { Candidate, Engine, TrainingState } from '../step/engine.ts'
import type { StepSpec } from '../step/step.ts'

export interface EngineOptions {
  /** Of the CPU; as many as there are cores unless told. */
  readonly threads?: number
}

/**
 * Opens an engine; what the others need is not loaded.
 * @param tables what the network reads but does not train, by name
 * @param state what to begin with: taken over, not copied
 * @throws UserError where the engine cannot compute on the device, with what would make it
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
