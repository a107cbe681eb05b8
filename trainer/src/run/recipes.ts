import {
  type BetaSchedule,
  betaSchedules,
  createSchedule,
  defaultSampling,
  type LossWeighting,
  type PredictionType,
  paperSchedule,
  type Sampler,
  samplers,
  type TimestepSpacing,
  timestepSpacings,
  UserError,
  type VarianceType,
  varianceTypes,
} from '@ddpm/shared'
import { type Initialization, initializations } from '../network/parameters.ts'
import { defaultUNet } from '../network/unet.ts'

/** Everything that decides a training run, but for the pictures themselves. */
export interface Recipe {
  /** Name of the recipe this began as. */
  readonly recipe: string
  /** Where pictures come from: `shapes`, IDX files, CIFAR-10 binaries or a folder. */
  readonly data: string
  /** Side of the pictures in pixels; null leaves the data's own (folders: 32). */
  readonly size: number | null
  /** 1 is grey, 3 is RGB; 'auto' is what the data has. */
  readonly channels: 'auto' | 1 | 3
  /** Part of the pictures that is not trained on. */
  readonly validation: number
  /** Learns the classes, where the pictures have them. */
  readonly conditional: boolean

  // The network; see UNetConfig. Channels and classes come from the pictures.
  readonly baseChannels: number
  readonly channelMultiples: readonly number[]
  readonly attention: readonly boolean[]
  readonly numResBlocks: number
  readonly timeMultiple: number
  readonly normGroups: number
  readonly normEps: number
  readonly heads: number
  readonly dropout: number
  readonly dropoutUnit: 'channel' | 'element'
  readonly downsamplePadding: 'around' | 'after'
  readonly zeroInit: boolean
  /**
   * The spread of the other layers' weights: pytorch's defaults, or fanAverage, that of DDPM's own code (variance scaling
   * by the mean of fan in and fan out, biases at zero).
   */
  readonly initialization: Initialization

  // The diffusion.
  /** Ho et al. 2020 (linear), Nichol & Dhariwal 2021 (cosine), Xu et al. 2022 (sigmoid): see ScheduleConfig. */
  readonly betaSchedule: BetaSchedule
  /** T. */
  readonly timesteps: number
  readonly betaStart: number
  readonly betaEnd: number
  /** Shifts the schedule so that its last timestep is pure noise (Lin et al. 2023); wants x0 or v. */
  readonly zeroTerminalSnr: boolean
  /** What the network's output means: the noise, the picture, or v (Salimans & Ho 2022). */
  readonly predictionType: PredictionType
  /** How timesteps are weighed in the loss: alike, or min-SNR-5 (Hang et al. 2023). */
  readonly lossWeighting: LossWeighting
  /**
   * Variances of the reverse process: fixedSmall or fixedLarge (DDPM section 3.2), which do not change the training, or
   * learnedRange, which the network learns beside (Nichol & Dhariwal 2021).
   */
  readonly varianceType: VarianceType

  // The optimisation.
  /** Steps of the optimizer in the whole run. */
  readonly steps: number
  /** Pictures per step. */
  readonly batchSize: number
  /**
   * Micro-batches that a step's pictures are cut into, one after the other in memory. The gradient is their mean, so
   * that the training is the same but for rounding; 1 is fastest.
   */
  readonly accumulate: number
  /** Adam's, after the warm-up. */
  readonly learningRate: number
  /** Steps over which the learning rate rises from 0. */
  readonly warmup: number
  /** What the learning rate does after the warm-up: stay, or fall to 0 along half a cosine. */
  readonly learningRateSchedule: 'constant' | 'cosine'
  /** AdamW's decoupled decay of every parameter, biases and norms too, as PyTorch's AdamW has it; 0 is Adam. */
  readonly weightDecay: number
  /** Adam's decays of the first and second moment, and the ε it adds to the root of the second. */
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  /** Bound of the gradient's norm; 0 does not clip. */
  readonly clipNorm: number
  /** Decay of the moving average of the weights, reached by min(emaDecay, (1 + step)/(10 + step)). */
  readonly emaDecay: number
  /** Probability that a picture is trained on without its class, for classifier-free guidance. */
  readonly labelDropout: number
  /** Mirrors pictures left to right half of the time. */
  readonly flip: boolean
  /** Of weights, order, noise and all else that is random. */
  readonly seed: number

  // How it is drawn from unless told otherwise, here and on the page.
  readonly sampler: Sampler
  /** Evaluations of the network per picture. */
  readonly samplingSteps: number
  /** Which timesteps these visit: see `levelsOf`. */
  readonly spacing: TimestepSpacing
  /** Classifier-free guidance; 1 is none. */
  readonly guidance: number

  // Looking after it.
  /** Steps between sample grids, between validations and between checkpoints. */
  readonly sampleEvery: number
  readonly validateEvery: number
  readonly checkpointEvery: number
  /** Latest checkpoints that are kept, beside the first of each tenth of the run. */
  readonly keep: number
}

/** What the recipes have in common. */
export const recipeDefaults: Omit<Recipe, 'recipe' | 'data' | 'size'> = {
  channels: 'auto',
  validation: 0.05,
  conditional: true,
  baseChannels: 32,
  channelMultiples: [1, 2, 2],
  attention: [false, false, true],
  numResBlocks: 2,
  timeMultiple: defaultUNet.timeMultiple,
  normGroups: defaultUNet.normGroups,
  normEps: defaultUNet.normEps,
  heads: defaultUNet.heads,
  dropout: defaultUNet.dropout,
  dropoutUnit: defaultUNet.dropoutUnit,
  downsamplePadding: defaultUNet.downsamplePadding,
  zeroInit: true,
  initialization: 'pytorch',
  betaSchedule: paperSchedule.betaSchedule,
  timesteps: paperSchedule.timesteps,
  betaStart: paperSchedule.betaStart,
  betaEnd: paperSchedule.betaEnd,
  zeroTerminalSnr: false,
  predictionType: 'epsilon',
  lossWeighting: 'uniform',
  varianceType: 'fixedSmall',
  steps: 10_000,
  batchSize: 32,
  accumulate: 1,
  learningRate: 5e-4,
  warmup: 100,
  learningRateSchedule: 'cosine',
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  clipNorm: 1,
  emaDecay: 0.999,
  labelDropout: 0.1,
  flip: false,
  seed: 0,
  sampler: defaultSampling.sampler,
  samplingSteps: defaultSampling.steps,
  spacing: defaultSampling.spacing,
  guidance: 1,
  sampleEvery: 500,
  validateEvery: 250,
  checkpointEvery: 250,
  keep: 3,
}

/** The recipes by name. */
export const recipes: Readonly<Record<string, Recipe>> = {
  /**
   * The built-in figures, learned in minutes on two cores: most channels at low resolution, and x_0 as the target, which
   * is flat where ε and v are as rough as the noise.
   */
  shapes: {
    ...recipeDefaults,
    recipe: 'shapes',
    data: 'shapes',
    size: 32,
    baseChannels: 16,
    channelMultiples: [1, 2, 4, 4],
    attention: [false, false, true, false],
    numResBlocks: 1,
    dropout: 0,
    predictionType: 'x0',
    steps: 1500,
    batchSize: 8,
    learningRate: 2e-3,
    emaDecay: 0.99,
    sampler: 'ddpm',
    guidance: 1.5,
    sampleEvery: 375,
    validateEvery: 375,
    checkpointEvery: 375,
  },
  /**
   * MNIST-style digits, 28×28 grey, with classes; v as the target, which is x_0 at high noise, where the paper around
   * them is flat, and ε at low noise, where the likelihood is decided.
   */
  mnist: {
    ...recipeDefaults,
    recipe: 'mnist',
    data: 'data/mnist',
    size: null,
    validation: 0.02,
    baseChannels: 16,
    channelMultiples: [1, 2, 4],
    numResBlocks: 1,
    dropout: 0,
    predictionType: 'v',
    steps: 5000,
    batchSize: 16,
    learningRate: 2e-3,
    sampler: 'dpmpp',
    samplingSteps: 15,
    spacing: 'lambda',
    guidance: 1.5,
  },
  /**
   * The published CIFAR-10 model (DDPM appendix B and its code), without classes: 35,746,307 parameters, FID 3.17 after
   * 800,000 steps.
   */
  cifar10: {
    ...recipeDefaults,
    recipe: 'cifar10',
    data: 'data/cifar-10-batches-bin',
    size: null,
    validation: 0.02,
    conditional: false,
    baseChannels: 128,
    channelMultiples: [1, 2, 2, 2],
    attention: [false, true, false, false],
    normGroups: 32,
    normEps: 1e-6,
    heads: 1,
    dropoutUnit: 'element',
    downsamplePadding: 'after',
    initialization: 'fanAverage',
    steps: 800_000,
    batchSize: 128,
    // 16 pictures at a time.
    accumulate: 8,
    learningRate: 2e-4,
    warmup: 5000,
    learningRateSchedule: 'constant',
    emaDecay: 0.9999,
    flip: true,
    sampleEvery: 5000,
    validateEvery: 1000,
    checkpointEvery: 1000,
  },
  /** The network that the project began with, as its arguments are by default: 64×64 RGB, 17,217,923 parameters. */
  seed64: {
    ...recipeDefaults,
    recipe: 'seed64',
    data: 'pictures',
    size: 64,
    channels: 3,
    conditional: false,
    baseChannels: defaultUNet.baseChannels,
    channelMultiples: defaultUNet.channelMultiples,
    attention: defaultUNet.attention,
    zeroInit: defaultUNet.zeroInit,
    steps: 50_000,
    learningRate: 2e-4,
    learningRateSchedule: 'constant',
    flip: true,
  },
  /** A folder of pictures, where nothing is known about them. */
  images: {
    ...recipeDefaults,
    recipe: 'images',
    data: 'pictures',
    size: 32,
    baseChannels: 64,
    flip: true,
  },
}

type Field = keyof Recipe
type Parser = (text: string) => unknown

function refuse(found: string, expected: string): never {
  throw new UserError(`Found ${found}; expected ${expected}.`)
}

const number: Parser = (text) => {
  const value = Number(text)
  return text.trim() !== '' && Number.isFinite(value) ? value : refuse(`"${text}"`, 'a number')
}
const whole: Parser = (text) => {
  const value = Number(text)
  return /^\d+$/.test(text) && Number.isSafeInteger(value) ? value : refuse(`"${text}"`, 'a whole number')
}
const oneOf =
  (...choices: readonly string[]): Parser =>
  (text) =>
    choices.includes(text) ? text : refuse(`"${text}"`, `one of ${choices.join(', ')}`)
const truth: Parser = (text) => oneOf('true', 'false')(text) === 'true'
const list =
  (item: Parser): Parser =>
  (text) =>
    text.split(',').map((part) => item(part.trim()))

/** How each field is given on the command line: what to call its value, how to read it, and what it does. */
export const recipeFields: { readonly [F in Exclude<Field, 'recipe'>]: readonly [string, Parser, string] } = {
  data: [
    'source',
    (text) => text,
    'shapes, a folder of pictures, IDX files or CIFAR-10 binaries (their folder or a file)',
  ],
  size: ['pixels', whole, 'side of the pictures'],
  conditional: ['bool', truth, 'learn the classes, where the pictures have them'],
  channels: [
    'n',
    (text) => (text === 'auto' ? text : Number(oneOf('1', '3')(text))),
    '1 grey, 3 RGB, or auto',
  ],
  validation: ['part', number, 'part of the pictures kept for validation'],
  baseChannels: ['n', whole, 'channels of the first level, a multiple of the groups'],
  channelMultiples: ['list', list(whole), 'channels per level as multiples of it, as in 1,2,2'],
  attention: ['list', list(truth), 'which levels have attention, as in false,false,true'],
  numResBlocks: ['n', whole, 'residual blocks per level'],
  timeMultiple: ['n', whole, 'width of the time embedding as a multiple of baseChannels'],
  normGroups: ['n', whole, 'groups of GroupNorm'],
  normEps: ['ε', number, 'what GroupNorm adds to the variance'],
  heads: ['n', whole, 'heads of attention'],
  dropout: ['p', number, 'probability of dropping'],
  dropoutUnit: ['what', oneOf('channel', 'element'), 'what is dropped: channel or element'],
  downsamplePadding: [
    'where',
    oneOf('around', 'after'),
    'padding of stride-2 convolutions: around, or after (right and bottom)',
  ],
  zeroInit: ['bool', truth, 'start last layers at zero'],
  initialization: ['name', oneOf(...initializations), `how weights start: ${initializations.join(', ')}`],
  betaSchedule: ['name', oneOf(...betaSchedules), `noise schedule: ${betaSchedules.join(', ')}`],
  timesteps: ['T', whole, 'number of noising steps'],
  betaStart: ['β', number, 'β of the first noising step'],
  betaEnd: ['β', number, 'β of the last noising step'],
  zeroTerminalSnr: ['bool', truth, 'let the last noising step leave pure noise'],
  predictionType: ['kind', oneOf('epsilon', 'x0', 'v'), 'what the network predicts: epsilon, x0 or v'],
  lossWeighting: ['kind', oneOf('uniform', 'min-snr'), 'uniform or min-snr'],
  varianceType: ['kind', oneOf(...varianceTypes), `variances: ${varianceTypes.join(', ')}`],
  steps: ['n', whole, 'training steps'],
  batchSize: ['n', whole, 'pictures per step'],
  accumulate: ['n', whole, 'micro-batches that a step is cut into, to take less memory'],
  learningRate: ['rate', number, "Adam's learning rate"],
  warmup: ['n', whole, 'steps over which the learning rate rises'],
  learningRateSchedule: ['kind', oneOf('constant', 'cosine'), 'constant, or cosine down to 0'],
  weightDecay: ['rate', number, "AdamW's weight decay"],
  beta1: ['β', number, "Adam's first decay"],
  beta2: ['β', number, "Adam's second decay"],
  eps: ['ε', number, "Adam's ε"],
  clipNorm: ['norm', number, 'bound of the gradient norm, 0 for none'],
  emaDecay: ['rate', number, 'decay of the moving average of the weights'],
  labelDropout: ['p', number, 'probability of training a picture without its class'],
  flip: ['bool', truth, 'mirror pictures half of the time'],
  seed: ['n', whole, 'seed of everything random'],
  sampler: ['name', oneOf(...samplers), `what draws from it: ${samplers.join(', ')}`],
  samplingSteps: ['n', whole, 'network evaluations per picture when it is drawn from'],
  spacing: [
    'name',
    oneOf(...timestepSpacings),
    `which timesteps these visit: ${timestepSpacings.join(', ')}`,
  ],
  guidance: ['scale', number, 'classifier-free guidance when it is drawn from, 1 for none'],
  sampleEvery: ['n', whole, 'steps between sample grids'],
  validateEvery: ['n', whole, 'steps between validations'],
  checkpointEvery: ['n', whole, 'steps between checkpoints'],
  keep: ['n', whole, 'latest checkpoints kept, beside one per tenth of the run'],
}

/** What a field may be, and how its lowest value is put into words; upper bounds keep slips of the keyboard out. */
const bounds: { readonly [F in Field]?: readonly [low: number, high: number, lowest: string] } = {
  size: [1, 4096, 'at least 1'],
  validation: [1e-9, 0.9, 'above 0'],
  baseChannels: [1, 8192, 'at least 1'],
  numResBlocks: [1, 64, 'at least 1'],
  timeMultiple: [1, 64, 'at least 1'],
  dropout: [0, 0.999, 'at least 0'],
  timesteps: [2, 1e6, 'at least 2'],
  steps: [1, 1e9, 'at least 1'],
  batchSize: [1, 65536, 'at least 1'],
  accumulate: [1, 65536, 'at least 1'],
  learningRate: [1e-12, 1, 'above 0'],
  warmup: [0, 1e9, 'at least 0'],
  weightDecay: [0, 10, 'at least 0'],
  beta1: [0, 0.999999, 'at least 0'],
  beta2: [0, 0.99999999, 'at least 0'],
  eps: [1e-30, 1, 'above 0'],
  clipNorm: [0, 1e9, 'at least 0'],
  emaDecay: [0, 0.9999999, 'at least 0'],
  labelDropout: [0, 1, 'at least 0'],
  samplingSteps: [1, 1e6, 'at least 1'],
  guidance: [0, 100, 'at least 0 (no class)'],
  sampleEvery: [1, 1e9, 'at least 1'],
  validateEvery: [1, 1e9, 'at least 1'],
  checkpointEvery: [1, 1e9, 'at least 1'],
  keep: [1, 1e9, 'at least 1'],
}

/**
 * Refuses a recipe that cannot be trained.
 * @throws UserError naming the field, what was found and what was expected
 */
export function validateRecipe(recipe: Recipe): void {
  for (const [field, [low, high, lowest]] of Object.entries(bounds)) {
    const value = recipe[field as Field] as number | null
    if (value === null && field === 'size') continue
    if (!(typeof value === 'number' && value >= low && value <= high))
      throw new UserError(`Found ${field} ${value}; expected ${lowest} and at most ${high}.`)
  }
  const { batchSize, accumulate, zeroTerminalSnr, predictionType } = recipe
  if (zeroTerminalSnr && predictionType === 'epsilon') {
    throw new UserError(
      'Found zeroTerminalSnr with predictionType epsilon; expected x0 or v, for pure noise tells nothing of the picture.',
    )
  }
  if (batchSize % accumulate !== 0) {
    throw new UserError(
      `Found accumulate ${accumulate}; expected a divisor of batchSize ${batchSize}, for a step is cut into micro-batches ` +
        'of equal size.',
    )
  }
  createSchedule(recipe)
}

/** A recipe by its name. */
export function recipeNamed(name: string): Recipe {
  const recipe = Object.hasOwn(recipes, name) ? recipes[name] : undefined
  if (recipe) return recipe
  throw new UserError(`Found the recipe "${name}"; expected one of ${Object.keys(recipes).join(', ')}.`)
}
