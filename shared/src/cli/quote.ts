/**
 * Quotes an argument for a shell if it contains special characters, for commands that a message suggests.
 * @param platform the shell's system: POSIX shells use single quotes, Windows uses double quotes
 */
export function quote(argument: string, platform: string = process.platform): string {
  if (/^[\w./:@%+=,-]+$/.test(argument)) return argument
  if (platform === 'win32') return /^[\w./:@%+=,\\-]+$/.test(argument) ? argument : `"${argument}"`
  return `'${argument.replaceAll("'", `'\\''`)}'`
}
