/** Seconds as 0:05, 12:34 or 1:02:03. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const two = (value: number) => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

/** How long the rest of some work will take at the pace so far, for people. @param elapsed milliseconds */
export function formatLeft(elapsed: number, done: number, total: number): string {
  return done === 0 ? '' : `${formatDuration((elapsed / 1000 / done) * (total - done))} left`
}
