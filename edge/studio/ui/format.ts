/** Numbers as people read them. */

const grouped = new Intl.NumberFormat('en')

export function number(value: number): string {
  return grouped.format(value)
}

/** 1234567 → "1.2 million". */
export function roughly(value: number): string {
  return value < 1e6 ? number(value) : `${(value / 1e6).toFixed(1)} million`
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${number(value)} ${value === 1 ? one : many}`
}

/** 0.4 → "1 s", 75 → "1 min 15 s", 7500 → "2 h 5 min". */
export function duration(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`
}
