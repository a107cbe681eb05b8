import { domains, normals, UserError } from '@ddpm/shared'
import { initialize, layoutOf, tablesOf } from '../network/parameters.ts'
import { dropoutLayout, parameterSpecs } from '../network/unet.ts'
import type { Batch } from '../step/engine.ts'
import { initialState } from '../step/engine.ts'
import { stepScalarNames, stepScalars } from '../step/optimizer.ts'
import { coefficientNames, type StepSpec } from '../step/step.ts'
import { openEngine } from './open.ts'
import type { ProbeRequest, ProbeResult } from './probe.ts'

// Runs in a process of its own (see probe.ts): reads what to measure, sends what it found.

/** Steps that count at most, after one that does not: it compiles. An engine that takes seconds is measured by fewer. */
const counted = 3
const patience = 3000

/** Pictures and noise of the right shapes: what a step costs does not depend on what they show. */
function anyBatch({ unet, batch, height, width }: StepSpec): Batch {
  const images = new Float32Array(batch * unet.inputChannels * height * width)
  normals(0, { domain: domains.trainingNoise, image: 0, step: 0 }, images)
  const masks = dropoutLayout(unet, { height, width }).size
  return {
    x0: images,
    noise: images,
    timestep: new Float32Array(batch),
    label: unet.classes > 0 ? new Float32Array(batch) : null,
    coefficients: new Float32Array(batch * coefficientNames.length).fill(0.5),
    dropout: masks > 0 ? new Float32Array(batch * masks).fill(1) : null,
  }
}

async function measure({ candidate, spec, options }: ProbeRequest): Promise<ProbeResult> {
  const layout = layoutOf(parameterSpecs(spec.unet))
  const state = initialState(initialize(layout, 0))
  const engine = await openEngine(candidate, spec, tablesOf(layout), state, options)
  const batches = new Array<Batch>(spec.accumulate ?? 1).fill(anyBatch(spec))
  const still = stepScalars(spec.adam, { step: 1, learningRate: 0, weightDecay: 0, emaDecay: 1 })
  const scalars = Float32Array.from(stepScalarNames, (name) => still[name])
  await engine.step(batches, scalars)
  const times: number[] = []
  const started = performance.now()
  while (times.length < counted && performance.now() - started < patience) {
    const began = performance.now()
    await engine.step(batches, scalars)
    times.push(performance.now() - began)
  }
  const { description } = engine
  await engine.dispose()
  return { works: true, description, milliseconds: times.sort((a, b) => a - b)[times.length >> 1]! }
}

process.on('message', async (question: ProbeRequest) => {
  const finding = await measure(question).catch((error: Error): ProbeResult => {
    const reason = error instanceof UserError ? error.message : error.message.split('\n')[0]!
    return { works: false, reason }
  })
  process.send!(finding, undefined, {}, () => process.exit())
})
