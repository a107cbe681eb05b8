/** Formats seconds as 0:05, 12:34 or 1:02:03. */
export function formatDuration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds))
  const twoDigits = (value: number) => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60]
  return hours > 0
    ? `${hours}:${twoDigits(minutes)}:${twoDigits(total % 60)}`
    : `${minutes}:${twoDigits(total % 60)}`
}

/**
 * Formats the estimated remaining time of a task: "0:05 left", or '' before anything is done.
 * @param elapsed milliseconds
 */
export function formatTimeLeft(elapsed: number, done: number, total: number): string {
  return done === 0 ? '' : `${formatDuration((elapsed / 1000 / done) * (total - done))} left`
}
