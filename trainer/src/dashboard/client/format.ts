/** Formats a number with about three significant digits: 0.0412, 1.2e-3, 812. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e5) return formatLarge(value)
  if (size >= 100) return value.toFixed(0)
  if (size >= 1e-3) return String(Number(value.toPrecision(3)))
  return value.toExponential(2).replace(/\.?0+e/, 'e')
}

/** Formats a step number for an axis: 500, 1.5 k, 800.25 k. */
export function formatStep(step: number): string {
  return step < 1000 ? String(step) : `${Number((step / 1000).toFixed(3))} k`
}

/** Formats a large number with an SI prefix: 1.62 M, 69.6 G. */
export function formatLarge(value: number): string {
  const units = ['', ' k', ' M', ' G', ' T', ' P']
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.abs(value)) / 3)))
  return `${Number((value / 1000 ** power).toPrecision(3))}${units[power]}`
}
