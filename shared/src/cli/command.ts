import { UserError } from '../base/errors.ts'
import { suggest } from './suggest.ts'

/** The part of commander's Command that `runCommand` uses. */
interface CommandLine {
  name(): string
  parseAsync(): Promise<unknown>
  showHelpAfterError(text: string): unknown
}

/**
 * Parses the command line and runs the command. A UserError is printed without a stack trace; the exit code is then 1.
 */
export async function runCommand(command: CommandLine): Promise<void> {
  command.showHelpAfterError(`Run "${command.name()} --help" to list the arguments and options.`)
  try {
    await command.parseAsync()
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

/**
 * An invalid value of an option or argument. Commander recognizes the code and puts the name and the value before the
 * message: "error: option '--x <n>' argument 'y' is invalid. Expected …".
 */
class InvalidValue extends UserError {
  readonly code = 'commander.invalidArgument'
}

/** Parses an option's value as a whole number ≥ 0. */
export function parseWholeNumber(text: string): number {
  const value = wholeNumberOf(text)
  if (value !== null) return value
  throw new InvalidValue('Expected a whole number of at least 0.')
}

/** Returns a parser of whole numbers from `min` to `max`. */
export function parseWholeNumberWithin(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = wholeNumberOf(text)
    if (value !== null && value >= min && value <= max) return value
    throw new InvalidValue(`Expected a whole number from ${min} to ${max}.`)
  }
}

/** Returns the value of a whole number ≥ 0 such as 20000 or 2e4; null for another text. */
export function wholeNumberOf(text: string): number | null {
  return /^\d[\d.]*(e\d+)?$/i.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : null
}

/** Parses an option's value as a TCP port. 0 means any free port. */
export const parsePort = parseWholeNumberWithin(0, 65535)

/** Parses an option's value as a finite number. */
export function parseNumber(text: string): number {
  if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  throw new InvalidValue('Expected a number.')
}

/** Returns a parser that accepts only the given words and suggests the nearest one. */
export function parseChoice(words: readonly string[]): (text: string) => string {
  return (text) => {
    if (words.includes(text)) return text
    throw new InvalidValue(`Expected one of ${words.join(', ')}.${suggest(text, words)}`)
  }
}

/** Parses an option's value as a time, for example 90s, 30m, 2h or 1h30m. Returns seconds. */
export function parseTime(text: string): number {
  const [match, hours = 0, minutes = 0, seconds = 0] =
    /^(?:([\d.]+)h)?(?:([\d.]+)m(?:in)?)?(?:([\d.]+)s)?$/.exec(text.replaceAll(' ', '')) ?? []
  const total = 3600 * Number(hours) + 60 * Number(minutes) + Number(seconds)
  if (match !== undefined && total > 0) return total
  throw new InvalidValue('Expected a time such as 30m, 2h or 1h30m.')
}

const units = { '': 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 } as const

/** Parses an option's value as a number of bytes, for example 500MB, 1.5 GB or 4096. */
export function parseByteCount(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?([kKMGT]?B)?$/.exec(text.trim()) ?? []
  const factor = units[(unit ?? '').toUpperCase() as keyof typeof units]
  if (number !== undefined && factor !== undefined) return Math.round(Number(number) * factor)
  throw new InvalidValue('Expected a size such as 500MB or 4GB.')
}
