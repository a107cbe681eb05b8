// The child process of probe.ts. It receives a ProbeRequest, measures a training step, sends a ProbeResult and exits.
import { domains, fillNormals, UserError } from '@ddpm/shared'
import { createParameterLayout, createTables, initialize } from '../network/parameters.ts'
import { dropoutLayout, parameterSpecs } from '../network/unet.ts'
import { coefficientNames } from '../objective/denoising.ts'
import { type Batch, initialState } from '../step/engine.ts'
import { stepScalars } from '../step/optimizer.ts'
import type { StepSpec } from '../step/spec.ts'
import { openEngine } from './open.ts'
import type { ProbeRequest, ProbeResult } from './probe.ts'

/** Max number of measured steps, after one warm-up step that compiles. */
const maxSteps = 3
/** After this time, no further step is started. */
const maxMilliseconds = 3000

process.on('message', async (request: ProbeRequest) => {
  const result = await measure(request).catch((error: Error): ProbeResult => {
    const reason = error instanceof UserError ? error.message : error.message.split('\n')[0]!
    return { works: false, reason }
  })
  process.send!(result, undefined, {}, () => process.exit())
})

async function measure({ candidate, spec, options }: ProbeRequest): Promise<ProbeResult> {
  const layout = createParameterLayout(parameterSpecs(spec.unet))
  const state = initialState(initialize(layout, 0))
  const engine = await openEngine(candidate, spec, createTables(layout), state, options)
  const batches = new Array<Batch>(spec.accumulate ?? 1).fill(syntheticBatch(spec))
  const scalars = stepScalars(spec.adam, { step: 1, learningRate: 0, weightDecay: 0, emaDecay: 1 })
  await engine.step(batches, scalars)
  const times: number[] = []
  const start = performance.now()
  while (times.length < maxSteps && performance.now() - start < maxMilliseconds) {
    const stepStart = performance.now()
    await engine.step(batches, scalars)
    times.push(performance.now() - stepStart)
  }
  const { description } = engine
  await engine.dispose()
  return { works: true, description, milliseconds: times.sort((a, b) => a - b)[times.length >> 1]! }
}

/** Returns a batch of the right shapes. The time of a step does not depend on the values. */
function syntheticBatch({ unet, batch, height, width }: StepSpec): Batch {
  const images = new Float32Array(batch * unet.inputChannels * height * width)
  fillNormals(0, { domain: domains.trainingNoise, image: 0, step: 0 }, images)
  const maskSize = dropoutLayout(unet, { height, width }).size
  return {
    x0: images,
    noise: images,
    timestep: new Float32Array(batch),
    label: unet.classes > 0 ? new Float32Array(batch) : null,
    coefficients: new Float32Array(batch * coefficientNames.length).fill(0.5),
    dropout: maskSize > 0 ? new Float32Array(batch * maskSize).fill(1) : null,
  }
}
