import {
  betaSchedules,
  defaultSampling,
  paperSchedule,
  samplers,
  timestepSpacings,
  varianceTypes,
} from '@ddpm/shared'
import * as z from 'zod'
import { sizePattern } from '../data/dataset/size.ts'
import { defaultUNet } from '../network/config.ts'
import { initializations } from '../network/parameters.ts'

/** A field of the recipe: placeholder in `--help`, type with bounds, default and description. */
function field<T extends z.ZodType>(
  placeholder: string,
  type: T,
  initial: z.core.util.NoUndefined<z.output<T>>,
  description: string,
) {
  return z._default(type, initial).meta({ placeholder, description })
}

const int = (min = 0, max = Number.MAX_SAFE_INTEGER) => z.int().min(min).max(max)
const number = (min = -Number.MAX_VALUE, max = Number.MAX_VALUE) => z.number().min(min).max(max)
const list = <T extends z.ZodType>(element: T) => z.array(element).readonly()
const oneOf = z.literal
const [unet, noise, sampling] = [defaultUNet, paperSchedule, defaultSampling]

/** The arguments of the network (UNetConfig) that the recipe determines. The others depend on the images. */
const networkFields = {
  baseChannels: field('n', int(1, 8192), 32, 'channels of the first level, a multiple of normGroups'),
  channelMultiples: field(
    'list',
    list(int()),
    [1, 2, 2],
    'channels per level as multiples of baseChannels, for example 1,2,2',
  ),
  attention: field(
    'list',
    list(z.boolean()),
    [false, false, true],
    'self-attention per level, for example false,true',
  ),
  numResBlocks: field('n', int(1, 64), 2, 'residual blocks per level'),
  timeMultiple: field(
    'n',
    int(1, 64),
    unet.timeMultiple,
    'width of the time embedding as a multiple of baseChannels',
  ),
  normGroups: field('n', int(), unet.normGroups, 'groups of GroupNorm'),
  normEps: field('ε', number(), unet.normEps, 'ε of GroupNorm'),
  heads: field('n', int(), unet.heads, 'attention heads'),
  dropout: field('p', number(0, 0.999), unet.dropout, 'dropout probability'),
  dropoutUnit: field(
    'unit',
    oneOf(['channel', 'element']),
    unet.dropoutUnit,
    'unit that dropout sets to zero',
  ),
  // around: padding on all sides; after: only at the right and the bottom.
  downsamplePadding: field(
    'where',
    oneOf(['around', 'after']),
    unet.downsamplePadding,
    'padding of the stride-2 convolutions',
  ),
  zeroInit: field('bool', z.boolean(), true, 'initialize the last layer of every block to zero'),
}

/**
 * All fields but `recipe`. Types, CLI flags, `--help`, recipe files and config.json of a run derive from this object.
 * Upper bounds catch typing errors.
 */
export const recipeFields = {
  data: z.string().meta({
    placeholder: 'source',
    description: 'shapes or faces (built in), or the path of an image folder, IDX files or CIFAR-10 binaries',
  }),
  // Network, schedule, prediction type, size and channels default to those of the model.
  from: field(
    'model',
    z.string().nullable(),
    null,
    'fine-tune: start from the weights of a run, a checkpoint, an exported or published model, or a safetensors file',
  ),
  // Images of a folder are scaled and cropped to the size, others are padded to it.
  size: field(
    'pixels',
    z.union([int(1, 4096), z.string().regex(sizePattern).describe('WIDTHxHEIGHT')]).nullable(),
    null,
    'side of square images, or WIDTHxHEIGHT such as 64x48 (default for folders: 32)',
  ),
  conditional: field(
    'bool',
    z.boolean(),
    true,
    'condition the model on the classes of the images, if they have any',
  ),
  channels: field('n', oneOf(['auto', 1, 3]), 'auto', 'channels of the images'),
  classNames: field(
    'list',
    list(z.string()).nullable(),
    null,
    'names of the classes of IDX files, in the order of their labels',
  ),
  skipUnreadable: field('bool', z.boolean(), false, 'skip any number of unreadable images of a folder'),
  validation: field('fraction', number(1e-9, 0.9), 0.05, 'fraction of the images held out for validation'),
  ...networkFields,
  // fanAverage, as in the original DDPM code: variance scaling by the mean of fan-in and fan-out, zero biases.
  initialization: field('name', oneOf(initializations), 'pytorch', 'initialization of the weights'),

  // linear: Ho et al. 2020, cosine: Nichol & Dhariwal 2021, sigmoid: Xu et al. 2022.
  betaSchedule: field('name', oneOf(betaSchedules), noise.betaSchedule, 'noise schedule'),
  timesteps: field('T', int(2, 1e6), noise.timesteps, 'number of diffusion timesteps'),
  betaStart: field('β', number(), noise.betaStart, 'β of the first timestep'),
  betaEnd: field('β', number(), noise.betaEnd, 'β of the last timestep'),
  // Lin et al. 2023, algorithm 1.
  zeroTerminalSnr: field(
    'bool',
    z.boolean(),
    false,
    'make the last timestep pure noise (requires prediction type x0 or v)',
  ),
  // v: Salimans & Ho 2022.
  predictionType: field('kind', oneOf(['epsilon', 'x0', 'v']), 'epsilon', 'what the model predicts'),
  // 'min-snr' is min-SNR-γ with γ = 5 (Hang et al. 2023).
  lossWeighting: field('kind', oneOf(['uniform', 'min-snr']), 'uniform', 'loss weight per timestep'),
  // DDPM section 3.2, or learned by the network (Nichol & Dhariwal 2021). The fixed ones do not affect training.
  varianceType: field('kind', oneOf(varianceTypes), 'fixedSmall', 'variances of the reverse process'),

  steps: field('n', int(1, 1e9), 10_000, 'training steps'),
  batchSize: field('n', int(1, 65536), 32, 'images per step'),
  // The gradient is the mean over the micro-batches, so the result is the same except for rounding. 1 is fastest.
  accumulate: field('n', int(1, 65536), 1, 'micro-batches per step, to reduce the memory use'),
  learningRate: field('rate', number(1e-12, 1), 5e-4, 'learning rate of Adam'),
  warmup: field('n', int(0, 1e9), 100, 'first steps, during which the learning rate rises from 0'),
  // After the warm-up. cosine: half a period, down to 0.
  learningRateSchedule: field('kind', oneOf(['constant', 'cosine']), 'cosine', 'learning rate schedule'),
  // Decoupled, and applied to every parameter including biases and norms, as in PyTorch's AdamW.
  weightDecay: field('rate', number(0, 10), 0, 'weight decay of AdamW; 0 is Adam'),
  beta1: field('β', number(0, 0.999999), 0.9, "decay of Adam's first moment"),
  beta2: field('β', number(0, 0.99999999), 0.999, "decay of Adam's second moment"),
  eps: field('ε', number(1e-30, 1), 1e-8, 'ε of Adam'),
  clipNorm: field('norm', number(0, 1e9), 1, 'max norm of the gradient; 0 disables clipping'),
  // Warm-up: each step uses min(emaDecay, (1 + step)/(10 + step)).
  emaDecay: field('rate', number(0, 0.9999999), 0.999, 'decay of the moving average (EMA) of the weights'),
  // For classifier-free guidance.
  labelDropout: field('p', number(0, 1), 0.1, 'probability of training an image without its class'),
  flip: field('bool', z.boolean(), false, 'flip images horizontally with probability 0.5'),
  seed: field('n', int(), 0, 'seed of all random numbers: weights, batches, noise …'),

  // Default sampling options of the trained model, also in the studio.
  sampler: field('name', oneOf(samplers), sampling.sampler, 'default sampler'),
  samplingSteps: field('n', int(1, 1e6), sampling.steps, 'default number of sampling steps'),
  spacing: field('name', oneOf(timestepSpacings), sampling.spacing, 'default spacing of the timesteps'),
  guidance: field('scale', number(0, 100), 1, 'default classifier-free guidance scale, 1 for none'),

  sampleEvery: field('n', int(1, 1e9), 500, 'steps between sample grids'),
  validateEvery: field('n', int(1, 1e9), 250, 'steps between validations'),
  checkpointEvery: field('n', int(1, 1e9), 250, 'steps between checkpoints'),
  keep: field(
    'n',
    int(1, 1e9),
    3,
    'number of latest checkpoints to keep, in addition to one per tenth of the run',
  ),
}

/** A recipe as in config.json. `recipe` is the name of the built-in recipe, or of the recipe file without `.json`. */
export const recipeSchema = z.strictObject({ recipe: z.string(), ...recipeFields })

/** Everything that determines a training run except the images. */
export type Recipe = Readonly<z.output<typeof recipeSchema>>
export type RecipeField = keyof typeof recipeFields

/** Returns the fields of a recipe that configure the network. */
export function pickNetworkFields(recipe: Recipe): Pick<Recipe, keyof typeof networkFields> {
  return z.object(networkFields).parse(recipe)
}

const definitions: Readonly<Record<string, Omit<z.input<typeof recipeSchema>, 'recipe'>>> = {
  /**
   * The built-in toy set, trained in minutes on two cores. Most channels are at low resolution. The model
   * predicts x₀, which has flat areas; ε and v contain the noise.
   */
  shapes: {
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
   * The built-in pixel-art faces. Most channels are at low resolution, because a cell of the art is 2×2 pixels. After a few
   * minutes, x₀-prediction gives recognizable faces, and v-prediction noise.
   */
  faces: {
    data: 'faces',
    size: 32,
    validation: 0.02,
    baseChannels: 32,
    channelMultiples: [1, 1, 3, 3],
    attention: [false, false, true, false],
    numResBlocks: 1,
    dropout: 0,
    predictionType: 'x0',
    steps: 20_000,
    batchSize: 16,
    learningRate: 2e-3,
    emaDecay: 0.998,
    sampler: 'ddpm',
    guidance: 1.5,
  },
  /**
   * MNIST-style digits, 28×28 grey, with classes. The model predicts v: close to −x₀ at high noise, where the
   * background is flat, and close to ε at low noise, which determines the likelihood.
   */
  mnist: {
    data: 'data/mnist',
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
   * The published CIFAR-10 model (DDPM appendix B and its code), unconditional: 35,746,307 parameters, FID 3.17 after
   * 800,000 steps.
   */
  cifar10: {
    data: 'data/cifar-10-batches-bin',
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
    // Micro-batches of 16 images.
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
  /** The original PyTorch network with its default arguments: 64×64 RGB, 17,217,923 parameters. */
  seed64: {
    data: 'images',
    size: 64,
    channels: 3,
    conditional: false,
    baseChannels: unet.baseChannels,
    channelMultiples: unet.channelMultiples,
    attention: unet.attention,
    zeroInit: unet.zeroInit,
    steps: 50_000,
    learningRate: 2e-4,
    learningRateSchedule: 'constant',
    flip: true,
  },
  /** Any folder of images. */
  images: { data: 'images', size: 32, baseChannels: 64, flip: true },
}

/** The recipes by name. */
export const recipes: Readonly<Record<string, Recipe>> = Object.fromEntries(
  Object.entries(definitions).map(([name, fields]) => [
    name,
    recipeSchema.parse({ recipe: name, ...fields }),
  ]),
)
