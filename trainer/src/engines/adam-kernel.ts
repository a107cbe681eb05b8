import {
  type AdamConfig,
  adamStepInPlace,
  mapState,
  type OptimizerState,
  type StepScalars,
  stateNames,
} from '../step/optimizer.ts'

/** adam.wat in binary form, with SIMD: five to eight times as fast as adamStepInPlace. */
const binary =
  'AGFzbQEAAAABEgFgDn9/f39/f319fX19fX19AAISAQNlbnYGbWVtb3J5AgEBgIAEAwIBAAcIAQRzdGVwAAAK7QEB6gECAX8FewNAIAQgDmr9AAQAIAb9' +
  'E/3mASEPIAEgDmr9AAQAIRAgECAL/RMgDyAQ/eUB/eYB/eQBIRAgASAOaiAQ/QsEACACIA5q/QAEACERIBEgDP0TIA8gD/3mASAR/eUB/eYB/eQBIREg' +
  'AiAOaiAR/QsEACAJ/RMgACAOav0ABAD95gEgB/0TIBD95gEgCP0TIBH94wH95gEgDf0T/eQB/ecB/eUBIRIgACAOaiAS/QsEACADIA5q/QAEACETIAMg' +
  'DmogEyAK/RMgEiAT/eUB/eYB/eQB/QsEACAOQRBqIQ4gDiAFSQ0ACws='

/** The vectors of a training state and a gradient, and the update of the state by that gradient. */
export interface AdamMemory {
  readonly state: OptimizerState<Float32Array>
  readonly gradient: Float32Array
  /** Applies one step of Adam with decoupled weight decay, and updates the EMA. */
  step(gradientScale: number, scalars: StepScalars<number>): void
}

const pageBytes = 2 ** 16
const maxPages = 2 ** 16

/** The part of WebAssembly's API that is used here. TypeScript declares it for browsers only. */
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
    readonly Module: new (binary: Uint8Array) => object
    readonly Instance: new (
      module: object,
      imports: object,
    ) => { readonly exports: { readonly step: (...args: readonly number[]) => void } }
  }
}

/**
 * Moves a state to memory in which WebAssembly can update it. States of more than 4 GiB are updated in place by JavaScript.
 * @param initial its arrays are empty afterwards, so that the state is in memory only once
 * @returns the gradient is zero
 */
export function createAdamMemory(initial: OptimizerState<Float32Array>, adam: AdamConfig): AdamMemory {
  const { length } = initial.parameters
  const vectorBytes = 16 * Math.ceil(length / 4)
  const pages = Math.ceil((vectorBytes * (stateNames.length + 1)) / pageBytes)
  if (pages > maxPages) {
    const gradient = new Float32Array(length)
    const step: AdamMemory['step'] = (scale, scalars) =>
      adamStepInPlace(initial, gradient, scale, scalars, adam)
    return { state: initial, gradient, step }
  }
  const memory = new WebAssembly.Memory({ initial: pages, maximum: maxPages })
  const module = new WebAssembly.Module(Buffer.from(binary, 'base64'))
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const addresses = [...stateNames, 'gradient'].map((_, i) => i * vectorBytes)
  const vectorAt = (index: number) => new Float32Array(memory.buffer, addresses[index], length)
  const state = mapState((name) => vectorAt(stateNames.indexOf(name)))
  for (const name of stateNames) {
    state[name].set(initial[name])
    release(initial[name])
  }
  const { beta1, beta2, eps } = adam
  return {
    state,
    gradient: vectorAt(stateNames.length),
    step(gradientScale, { stepSize, rootCorrection, weightScale, emaRate }) {
      const factors = [
        gradientScale,
        stepSize,
        rootCorrection,
        weightScale,
        emaRate,
        1 - beta1,
        1 - beta2,
        eps,
      ]
      exports.step(...addresses, vectorBytes, ...factors)
    },
  }
}

/** Frees the memory of an array, unless it is a part of a larger buffer. */
function release({ buffer, byteLength }: Float32Array): void {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength)
    structuredClone(null, { transfer: [buffer] })
}
