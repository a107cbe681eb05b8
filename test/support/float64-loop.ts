import type { Plan } from '@ddpm/shared'

/**
 * Reference implementation of the sampling loop in float64, for one number and without noise. It shares no code with
 * `runPlan`. Its precision is sufficient to measure orders of convergence, unlike that of float32.
 * @param denoise the model's output for one number x
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
    const unclamped = row.p * x + row.q * output
    const x0 =
      typeof row.clamp === 'number' ? Math.min(Math.max(unclamped, -row.clamp), row.clamp) : unclamped
    history.unshift(x0)
    const earlier = row.c.reduce((sum, weight, k) => sum + weight * history[k + 1]!, 0)
    states.push(row.a * x + row.b * x0 + earlier + row.e * output)
  }
  return states.slice(1)
}
