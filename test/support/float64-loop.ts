import type { Plan } from '@ddpm/shared'

/**
 * The sampling loop once more, without noise, in float64 and nothing reused: to see orders of convergence that float32
 * hides, and to hold the real loop to.
 * @param denoise the network's output for one number x
 * @returns x after each row
 */
export function exactLoop(
  { rows }: Pick<Plan, 'rows'>,
  denoise: (x: number, t: number) => number,
  start: number,
): number[] {
  const states = [start]
  const history: number[] = []
  for (const row of rows) {
    const x = states.at(-1)!
    if (row.t === null) {
      states.push(row.a * x)
      continue
    }
    const output = denoise(x, row.t)
    const free = row.p * x + row.q * output
    const x0 = typeof row.clamp === 'number' ? Math.min(Math.max(free, -row.clamp), row.clamp) : free
    history.unshift(x0)
    const earlier = row.c.reduce((sum, weight, k) => sum + weight * history[k + 1]!, 0)
    states.push(row.a * x + row.b * x0 + earlier + row.e * output)
  }
  return states.slice(1)
}
