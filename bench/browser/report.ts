import { median } from '@ddpm/shared'
import type { Times } from './stopwatch.ts'

/** The measurements of a round, in which every contender runs once. */
export interface Round {
  /** Time in milliseconds for all steps of the round, by contender. */
  readonly milliseconds: Map<string, number>
  /** Parts of the module's time. */
  readonly times: Times
}

/** Formats the medians over the rounds. A ratio is the median of the ratios in each round. */
export function report(
  names: readonly string[],
  rounds: readonly Round[],
  { steps, count }: { steps: number; count: number },
): string {
  const step = (name: string) => median(rounds.map(({ milliseconds }) => milliseconds.get(name)! / steps))
  const relative = (name: string) =>
    median(rounds.map(({ milliseconds }) => milliseconds.get(name)! / milliseconds.get('module')!))
  const lines = names.map((name) =>
    [
      name.padEnd(9),
      `${step(name).toFixed(2)} ms/step`.padStart(17),
      `${((step(name) * steps) / count).toFixed(1)} ms/image`.padStart(21),
      name === 'module' ? '' : `   module is ${relative(name).toFixed(3)}× as fast`,
    ].join(''),
  )
  const part = (name: keyof Times) => median(rounds.map(({ times }) => times[name] / steps))
  const rest = median(
    rounds.map(({ milliseconds, times: { network, readBack, between } }) => {
      return (milliseconds.get('module')! - network - readBack - between) / steps
    }),
  )
  const partTexts = [
    `network ${part('network').toFixed(3)}`,
    `read-back ${part('readBack').toFixed(3)}`,
    `sampler, previews and messages ${part('between').toFixed(3)}`,
    `start and end ${rest.toFixed(3)}`,
  ]
  const overhead = median(
    rounds.map(({ milliseconds, times: { network } }) => milliseconds.get('module')! / network - 1),
  )
  const overheadAlone = median(
    rounds.map(({ milliseconds }) => milliseconds.get('module')! / milliseconds.get('network')! - 1),
  )
  return [
    ...lines,
    `module, ms/step: ${partTexts.join(', ')}`,
    `overhead of the module: ${percent(overhead)} of the network's time in the same call, ${percent(overheadAlone)} ` +
      `compared with the network alone (${rounds.length} rounds)`,
  ].join('\n')
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`
}
