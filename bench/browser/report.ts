import { median } from '@ddpm/shared'
import type { Times } from './stopwatch.ts'

/** One turn of every contender. */
export interface Round {
  /** Milliseconds of all steps of the turn, by contender. */
  readonly milliseconds: Map<string, number>
  /** Where the module's time went. */
  readonly times: Times
}

/** Formats medians over the rounds; ratios are medians of the ratios of each round. */
export function report(
  names: readonly string[],
  rounds: readonly Round[],
  { steps, count }: { steps: number; count: number },
): string {
  const step = (name: string) => median(rounds.map(({ milliseconds }) => milliseconds.get(name)! / steps))
  const against = (name: string) =>
    median(rounds.map(({ milliseconds }) => milliseconds.get(name)! / milliseconds.get('module')!))
  const lines = names.map((name) =>
    [
      name.padEnd(9),
      `${step(name).toFixed(2)} ms/step`.padStart(17),
      `${((step(name) * steps) / count).toFixed(1)} ms/image`.padStart(21),
      name === 'module' ? '' : `   module is ${against(name).toFixed(3)}× as fast`,
    ].join(''),
  )
  const part = (name: keyof Times) => median(rounds.map(({ times }) => times[name] / steps))
  const rest = median(
    rounds.map(({ milliseconds, times: { network, readBack, between } }) => {
      return (milliseconds.get('module')! - network - readBack - between) / steps
    }),
  )
  const split = [
    `network ${part('network').toFixed(3)}`,
    `read-back ${part('readBack').toFixed(3)}`,
    `sampler, previews and messages ${part('between').toFixed(3)}`,
    `start and end ${rest.toFixed(3)}`,
  ]
  const beyond = median(
    rounds.map(({ milliseconds, times: { network } }) => milliseconds.get('module')! / network - 1),
  )
  const alone = median(
    rounds.map(({ milliseconds }) => milliseconds.get('module')! / milliseconds.get('network')! - 1),
  )
  return [
    ...lines,
    `module, ms/step: ${split.join(', ')}`,
    `time of the module beyond the network: ${percent(beyond)} of the network's time in the same call, ${percent(alone)} ` +
      `compared with the network alone (${rounds.length} rounds)`,
  ].join('\n')
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`
}
