import { UserError } from '@ddpm/shared'
import { builtInNameOf } from '../../data/built-in.ts'
import { type Dataset, splitSizes } from '../../data/dataset/dataset.ts'
import { chooseEngine, type EngineRequest, formatCandidate } from '../../engines/choose.ts'
import { probe } from '../../engines/probe.ts'
import type { Recipe } from '../../run/recipes.ts'
import { stepOf } from '../../run/run.ts'
import type { Device } from '../../step/engine.ts'
import type { StepSpec } from '../../step/spec.ts'
import { formatDuration } from '../../support/duration.ts'
import {
  chooseSize,
  fieldsOf,
  firstMeasured,
  type NetworkSize,
  networkSizes,
  type SizeChoice,
  stepsWithin,
  withSteps,
} from '../../training/budget.ts'
import { stepCost } from '../../training/estimate.ts'
import { type Options, readOverrides } from './options.ts'
import { describeImages } from './prepared-run.ts'

/** Default of --time for the user's own images. */
const defaultSeconds = 3600
/** Timeout for the measurement of a training step. */
const probeSeconds = 120
/** Recipe fields that determine the network. If one of them is set, the network is not chosen. */
const networkFields = ['baseChannels', 'channelMultiples', 'attention', 'numResBlocks'] as const

/** A recipe, and the engine that was measured for it. */
interface Fitted {
  readonly recipe: Recipe
  readonly engineRequest: EngineRequest
}

/**
 * Chooses the length of a run by time, from measured training steps, and prints the choice. Also chooses the network and
 * batch size unless a recipe, a model to start from or options determine them.
 * @returns the recipe unchanged if it determines the length
 * @throws UserError if no engine works, or a step needs too much time or memory
 */
export async function fitToTime(recipe: Recipe, dataset: Dataset, options: Options): Promise<Fitted> {
  const overrides = readOverrides(options)
  const { engine, device, time } = options
  const isOwn = options.recipe === undefined && builtInNameOf(recipe.data) === null
  if (overrides.steps !== undefined || (time === undefined && !isOwn))
    return { recipe, engineRequest: { engine, device } }

  const seconds = time ?? defaultSeconds
  const images = splitSizes(dataset.count, recipe.validation).train
  const choosesNetwork =
    isOwn && recipe.from === null && networkFields.every((field) => overrides[field] === undefined)
  const specOf = (candidate: Recipe) =>
    stepOf({ version: 1, recipe: candidate, dataset: describeImages(dataset, candidate) })
  const ofSize = (size: NetworkSize, on: Device): Recipe => ({
    ...recipe,
    ...fieldsOf(size, dataset, on),
    ...overrides,
  })
  const machine = await openMachine(options, specOf(choosesNetwork ? ofSize(firstMeasured, 'cpu') : recipe))
  const measure = async (candidate: Recipe): Promise<Measured> => ({
    recipe: candidate,
    secondsPerStep: await machine.secondsPerStep(specOf(candidate)),
  })
  const measured = choosesNetwork
    ? await chooseNetwork(measure, specOf, (size) => ofSize(size, machine.device), { seconds, images })
    : await measure(recipe)

  const { batchSize } = measured.recipe
  const steps = stepsWithin(seconds, { batchSize, secondsPerStep: measured.secondsPerStep, images })
  const epochs = Math.round((steps * batchSize) / images)
  console.log(
    `Training for about ${formatDuration(seconds)} (--time): ${steps.toLocaleString('en')} steps of ${batchSize} images; ` +
      `each image is seen ${epochs.toLocaleString('en')} times.`,
  )
  return {
    recipe: { ...withSteps(measured.recipe, steps), ...overrides },
    engineRequest: machine.engineRequest,
  }
}

/** The engine that trains on this machine. */
interface Machine {
  readonly engineRequest: EngineRequest
  readonly device: Device
  /** Measures a training step. @throws UserError if it does not work */
  secondsPerStep(spec: StepSpec): Promise<number>
}

async function openMachine({ threads, ...request }: Options, spec: StepSpec): Promise<Machine> {
  const threadOptions = threads === undefined ? {} : { threads }
  const { reason, ...candidate } = await chooseEngine(request, spec, threadOptions)
  if (reason !== null) console.log(`${formatCandidate(candidate)}: ${reason}`)
  return {
    engineRequest: candidate,
    device: candidate.device,
    async secondsPerStep(measured) {
      const result = await probe(candidate, measured, { seconds: probeSeconds, ...threadOptions })
      if (result.works) return result.milliseconds / 1000
      throw new UserError(
        `Cannot measure a training step with ${formatCandidate(candidate)}: ${result.reason}. ` +
          'Use a smaller --size, --batch-size or --base-channels, or set --steps.',
      )
    },
  }
}

/** A recipe and the measured time of its training step. */
interface Measured {
  readonly recipe: Recipe
  readonly secondsPerStep: number
}

/**
 * Chooses a network and prints it with its neighbours. Measures one network, estimates the others from the number of their
 * operations, and measures the chosen one.
 */
async function chooseNetwork(
  measure: (recipe: Recipe) => Promise<Measured>,
  specOf: (recipe: Recipe) => StepSpec,
  ofSize: (size: NetworkSize) => Recipe,
  limits: { readonly seconds: number; readonly images: number },
): Promise<Measured> {
  const first = await measure(ofSize(firstMeasured))
  const costs = new Map(networkSizes.map((size) => [size, stepCost(specOf(ofSize(size)))]))
  const operations = (size: NetworkSize) => costs.get(size)!.flops.forward + costs.get(size)!.flops.backward
  const secondsPerImage = (size: NetworkSize) =>
    ((first.secondsPerStep / operations(firstMeasured)) * operations(size)) / ofSize(size).batchSize
  const choice = chooseSize(limits, secondsPerImage)
  const { size } = choice
  const { baseChannels } = ofSize(size)
  console.log(
    `Network: ${size}, with ${baseChannels} channels and ${costs.get(size)!.parameters.toLocaleString('en')} parameters.` +
      describeNeighbours(choice),
  )
  return size === firstMeasured ? first : measure(ofSize(size))
}

function describeNeighbours({ smaller, larger }: SizeChoice): string {
  const conditions = [
    ...(smaller === null ? [] : [`below --time ${formatTime(smaller.below)} it is ${smaller.size}`]),
    ...(larger === null
      ? []
      : [
          `from --time ${formatTime(larger.from)}` +
            `${larger.minImages > 0 ? ` and ${larger.minImages.toLocaleString('en')} images` : ''} it is ${larger.size}`,
        ]),
  ]
  return conditions.length === 0 ? '' : ` On this machine, ${conditions.join('; ')}.`
}

/** Formats seconds as a value of --time. */
function formatTime(seconds: number): string {
  return seconds < 3600 ? `${Math.ceil(seconds / 60)}m` : `${Number((seconds / 3600).toPrecision(2))}h`
}
