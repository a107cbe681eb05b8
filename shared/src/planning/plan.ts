/**
 * Dynamic threshold (Imagen, Saharia et al. 2022, section 2.3): with s the `ratio`-quantile of a picture's |x_0|, but
 * at least 1 and at most `max`, x_0 is clamped to ±s and divided by s.
 */
export interface Threshold {
  readonly ratio: number
  readonly max: number
}

/** What becomes of x_0: clamped to ±number, a dynamic threshold, or left as it is. */
export type Clamp = number | Threshold | null

/**
 * One step of a sampler, as coefficients. With x_0 = clamp(p·x + q·output), a step reads
 *
 *     x ← a·x + b·x_0 + Σ_k c[k]·x_0 of k+1 rows ago + e·output + d·z,   z standard normal
 *
 * Everything a sampler decides is in its rows; one loop (sampling.ts) runs them all.
 */
export interface Row {
  /**
   * The timestep the network is asked at, an index of the schedule that may lie between two rows of it (a network
   * takes the nearest). null: it is not asked, the row is x ← a·x + d·z and earlier x_0 are forgotten.
   */
  readonly t: number | null
  /** ᾱ before and after the row: x is about √ᾱ·x_0 + √(1−ᾱ)·ε. */
  readonly alphaBar: number
  readonly alphaBarNext: number
  readonly p: number
  readonly q: number
  readonly clamp: Clamp
  readonly a: number
  readonly b: number
  readonly c: readonly number[]
  /**
   * Standard deviation of the noise; or two log variances, between which the second half of the network's channels
   * chooses: log σ² = f·d[1] + (1−f)·d[0], f = (v+1)/2 (Nichol & Dhariwal 2021, eq. 15).
   */
  readonly d: number | readonly [small: number, large: number]
  readonly e: number
}

/** A sampler applied to a schedule: pure arithmetic, ready to be run or printed. */
export interface Plan {
  readonly name: string
  /** Standard deviation of the x that the first row takes: 1, but for samplers that start a hair below. */
  readonly start: number
  readonly rows: readonly Row[]
}

/** How many earlier x_0 a plan looks back at. */
export function depthOf({ rows }: Plan): number {
  return rows.reduce((most, { c }) => Math.max(most, c.length), 0)
}

/** How often a plan asks the network. */
export function evaluationsOf({ rows }: Plan): number {
  return rows.filter(({ t }) => t !== null).length
}

/** A plan as a table that a person can read, one line per row. */
export function formatPlan(plan: Plan): string {
  const depth = depthOf(plan)
  const earlier = Array.from({ length: depth }, (_, k) => k)
  const names = ['t', 'ᾱ', 'p', 'q', 'clamp', 'a', 'b', ...earlier.map((k) => `c${k + 1}`), 'd', 'e']
  const number = (value: number) => value.toFixed(8)
  const lines = plan.rows.map((row) => [
    row.t === null ? '–' : String(Math.round(row.t * 100) / 100),
    number(row.alphaBar),
    number(row.p),
    number(row.q),
    clampWords(row.clamp),
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
    `${plan.name}, ${evaluationsOf(plan)} network evaluations: x ← a·x + b·x0 + Σ c·x0₋ + e·output + d·z`,
    ...table,
  ].join('\n')
}

function clampWords(clamp: Clamp): string {
  if (clamp === null) return 'none'
  return typeof clamp === 'number' ? String(clamp) : `${clamp.ratio}-quantile ≤ ${clamp.max}`
}
