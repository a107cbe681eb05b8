import { UserError } from '@ddpm/shared'

/** Hyperparameters of the U-Net. */
export interface UNetConfig {
  readonly inputChannels: number
  /** Number of output channels: inputChannels, or twice as many for a model that learns variances. */
  readonly outputChannels: number
  /** Number of residual blocks per level of the encoder. The decoder has one more per level. */
  readonly numResBlocks: number
  /** Number of channels after the first convolution. */
  readonly baseChannels: number
  /** Channels of each level as a multiple of baseChannels. Each level after the first halves height and width. */
  readonly channelMultiples: readonly number[]
  /** Whether the residual blocks of each level have self-attention. */
  readonly attention: readonly boolean[]
  /** Number of groups of GroupNorm. */
  readonly normGroups: number
  /** Number that GroupNorm adds to the variance. */
  readonly normEps: number
  /** Number of heads of self-attention. */
  readonly heads: number
  /** Dropout probability before the second convolution of a residual block. */
  readonly dropout: number
  /** Unit of dropout: a whole channel (PyTorch's Dropout2d) or a single element (Dropout). */
  readonly dropoutUnit: 'channel' | 'element'
  /** Padding of stride-2 convolutions: on all sides, or at the right and bottom only. */
  readonly downsamplePadding: 'around' | 'after'
  /** Width of the time embedding as a multiple of baseChannels. */
  readonly timeMultiple: number
  /**
   * Whether the second convolution of each residual block, the attention outputs and the last convolution start at zero,
   * as in DDPM's published code.
   */
  readonly zeroInit: boolean
  /** Number of rows of the time embedding's table. */
  readonly timesteps: number
  /**
   * Number of classes; 0 for an unconditional model. Labels are 0 to classes − 1; the label `classes` means "no class".
   * The embedding of the label is added to the time embedding.
   */
  readonly classes: number
}

export const defaultUNet: UNetConfig = {
  inputChannels: 3,
  outputChannels: 3,
  numResBlocks: 2,
  baseChannels: 64,
  channelMultiples: [1, 2, 2, 4],
  attention: [false, false, true, false],
  normGroups: 8,
  normEps: 1e-5,
  heads: 4,
  dropout: 0.1,
  dropoutUnit: 'channel',
  downsamplePadding: 'around',
  timeMultiple: 4,
  zeroInit: false,
  timesteps: 1000,
  classes: 0,
}

const positiveIntegers = [
  'inputChannels',
  'outputChannels',
  'numResBlocks',
  'baseChannels',
  'normGroups',
  'heads',
  'timeMultiple',
  'timesteps',
] as const

/**
 * Checks that a network can be built from a configuration.
 * @param image size of the images, if known: it must be divisible by 2^(levels − 1)
 * @throws UserError that names the first invalid option, the expected and the actual value
 */
export function validateUNet(config: UNetConfig, image?: { height: number; width: number }): void {
  for (const name of positiveIntegers) {
    if (!isPositiveInteger(config[name])) throw invalid(name, config[name], 'a positive integer')
  }
  const { baseChannels, channelMultiples, attention, dropout, classes, normGroups, normEps, heads } = config
  if (baseChannels % normGroups !== 0) {
    const expected = `a multiple of ${normGroups} (normGroups, the number of GroupNorm groups)`
    throw invalid('baseChannels', baseChannels, expected)
  }
  if (baseChannels % 4 !== 0) {
    throw invalid('baseChannels', baseChannels, 'a multiple of 4, which the time embedding requires')
  }
  if (!(normEps > 0)) throw invalid('normEps', normEps, 'a positive number')
  const levels = channelMultiples.length
  if (levels === 0 || !channelMultiples.every(isPositiveInteger)) {
    const expected = 'positive integers, one per level, for example 1,2,2'
    throw invalid('channelMultiples', channelMultiples.join(','), expected)
  }
  if (attention.length !== levels) {
    const expected = `${levels} values, one per level of channelMultiples, got ${attention.length}`
    throw invalid('attention', attention.join(','), expected)
  }
  const attentionChannels = channelMultiples
    .filter((_, level) => attention[level] || level === levels - 1)
    .map((multiple) => baseChannels * multiple)
  if (attentionChannels.some((channels) => channels % heads !== 0)) {
    const expected = `a divisor of the channels of every level with attention (${attentionChannels.join(', ')})`
    throw invalid('heads', heads, expected)
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw invalid('dropout', dropout, 'a probability of at least 0 and less than 1')
  }
  if (!(Number.isInteger(classes) && classes >= 0)) {
    throw invalid('classes', classes, 'a non-negative integer')
  }
  if (image === undefined) return
  const { height, width } = image
  const factor = 2 ** (levels - 1)
  if (height % factor !== 0 || width % factor !== 0) {
    const below = (side: number) => Math.floor(side / factor) * factor
    const nearest = [0, factor].map((more) => `${below(height) + more}×${below(width) + more}`)
    throw new UserError(
      `Invalid image size ${height}×${width}: expected height and width divisible by ${factor}, because the ` +
        `network halves them ${levels - 1} times. Use --size ${nearest.join(' or ')}, or fewer levels in ` +
        '--channel-multiples and --attention.',
    )
  }
}

function isPositiveInteger(value: number): boolean {
  return Number.isInteger(value) && value > 0
}

function invalid(name: keyof UNetConfig, value: number | string, expected: string): UserError {
  return new UserError(`Invalid ${name} ${value}: expected ${expected}.`)
}
