/**
 * Dynamic threshold (Imagen, Saharia et al. 2022, section 2.3). Let s be the `ratio`-quantile of |x_0| of an image,
 * limited to 1 … max; x_0 is clamped to ±s and divided by s.
 */
export interface Threshold {
  readonly ratio: number
  readonly max: number
}

/** Clamping of x_0: to ±number, with a dynamic threshold, or no clamping (null). */
export type Clamp = number | Threshold | null

/**
 * One step of a sampler, as coefficients. With x_0 = clamp(p·x + q·output), a step is
 *
 *     x ← a·x + b·x_0 + Σ_k c[k]·x_0 of k+1 rows ago + e·output + d·z,   z standard normal
 *
 * Samplers differ only in their rows. One loop (`runPlan`) runs the rows of all samplers.
 */
export interface Row {
  /**
   * Timestep at which the model is evaluated: an index of the schedule. It may be fractional; a model rounds it to the
   * nearest integer. null: the row is x ← a·x + d·z without a forward pass.
   */
  readonly t: number | null
  /** ᾱ of x before and after the row. */
  readonly alphaBar: number
  readonly alphaBarNext: number
  readonly p: number
  readonly q: number
  readonly clamp: Clamp
  readonly a: number
  readonly b: number
  readonly c: readonly number[]
  /**
   * Standard deviation of the noise, or two log variances. In that case the second half of the model's output channels, v,
   * interpolates between them: log σ² = f·d[1] + (1−f)·d[0], f = (v+1)/2 (Nichol & Dhariwal 2021, eq. 15).
   */
  readonly d: number | readonly [small: number, large: number]
  readonly e: number
}

/** A sampler applied to a schedule, ready to be run or printed. */
export interface Plan {
  readonly name: string
  /** Standard deviation of the initial x: 1, or slightly less for some samplers. */
  readonly start: number
  readonly rows: readonly Row[]
}

/** Returns the number of earlier x_0 that a plan needs. */
export function historyLength({ rows }: Plan): number {
  return rows.reduce((max, { c }) => Math.max(max, c.length), 0)
}

/** Returns the number of model evaluations of a plan. */
export function countEvaluations({ rows }: Plan): number {
  return rows.filter(({ t }) => t !== null).length
}

/** Formats a plan as a table, one line per row. */
export function formatPlan(plan: Plan): string {
  const earlier = Array.from({ length: historyLength(plan) }, (_, k) => k)
  const names = ['t', 'ᾱ', 'p', 'q', 'clamp', 'a', 'b', ...earlier.map((k) => `c${k + 1}`), 'd', 'e']
  const number = (value: number) => value.toFixed(8)
  const lines = plan.rows.map((row) => [
    row.t === null ? '–' : String(Math.round(row.t * 100) / 100),
    number(row.alphaBar),
    number(row.p),
    number(row.q),
    formatClamp(row.clamp),
    number(row.a),
    number(row.b),
    ...earlier.map((k) => number(row.c[k] ?? 0)),
    typeof row.d === 'number'
      ? number(row.d)
      : `log σ² ${row.d.map((value) => value.toFixed(3)).join(' … ')}`,
    number(row.e),
  ])
  const widths = names.map((name, column) =>
    Math.max(name.length, ...lines.map((line) => line[column]!.length)),
  )
  const table = [names, ...lines].map((line) => line.map((cell, i) => cell.padStart(widths[i]!)).join('  '))
  return [
    `${plan.name}, ${countEvaluations(plan)} network evaluations: x ← a·x + b·x0 + Σ c·x0₋ + e·output + d·z`,
    ...table,
  ].join('\n')
}

function formatClamp(clamp: Clamp): string {
  if (clamp === null) return 'none'
  return typeof clamp === 'number' ? String(clamp) : `${clamp.ratio}-quantile ≤ ${clamp.max}`
}
