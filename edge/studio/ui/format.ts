/** Formatting of numbers and durations for display. */

const grouped = new Intl.NumberFormat('en')

/** 1234567 → "1,234,567". */
export function formatNumber(value: number): string {
  return grouped.format(value)
}

/** 1234567 → "1.2 million". */
export function formatApproximately(value: number): string {
  return value < 1e6 ? formatNumber(value) : `${(value / 1e6).toFixed(1)} million`
}

/** 1234567 → "1.2 MB". */
export function formatMegabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

/** (1, 'file') → "1 file", (2, 'file') → "2 files". */
export function formatCount(value: number, singular: string, plural = `${singular}s`): string {
  return `${formatNumber(value)} ${value === 1 ? singular : plural}`
}

/** 0.625 → "63 %", or with one decimal "62.5 %". */
export function formatPercent(share: number, decimals = 0): string {
  const factor = 10 ** decimals
  return `${Math.round(share * 100 * factor) / factor} %`
}

/** 0.4 → "1 s", 75 → "1 min 15 s", 7500 → "2 h 5 min". */
export function formatDuration(seconds: number): string {
  const rounded = Math.max(1, Math.round(seconds))
  if (rounded < 60) return `${rounded} s`
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${rounded % 60} s`
  return `${Math.floor(rounded / 3600)} h ${Math.round((rounded % 3600) / 60)} min`
}
