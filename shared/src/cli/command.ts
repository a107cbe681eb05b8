import { UserError } from '../base/errors.ts'
import { suggest } from './suggest.ts'

/** A command line that is ready to be read and carried out, as commander's Command is. */
interface CommandLine {
  parseAsync(): Promise<unknown>
}

/** Carries a command out. What the user can mend is printed as one message, exit code 1, without a stack trace. */
export async function runCommand(command: CommandLine): Promise<void> {
  try {
    await command.parseAsync()
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

/** A value that an option cannot take; commander knows it by its code and names the option in the message. */
class InvalidValue extends UserError {
  readonly code = 'commander.invalidArgument'
}

/** Reads an option's value as a whole number of at least 0. */
export function wholeNumber(text: string): number {
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new InvalidValue(`Found "${text}"; expected a whole number.`)
}

/** Reads an option's value as a whole number within bounds. */
export function wholeBetween(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = wholeNumber(text)
    if (value >= low && value <= high) return value
    throw new InvalidValue(`Found ${value}; expected a whole number from ${low} to ${high}.`)
  }
}

/** Reads an option's value as a TCP port; 0 is any that is free. */
export const portNumber = wholeBetween(0, 65535)

/** Reads an option's value as a number. */
export function realNumber(text: string): number {
  if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  throw new InvalidValue(`Found "${text}"; expected a number.`)
}

/** Reads an option's value as one of a few words. */
export function choice(words: readonly string[]): (text: string) => string {
  return (text) => {
    if (words.includes(text)) return text
    throw new InvalidValue(`Expected one of ${words.join(', ')}.${suggest(text, words)}`)
  }
}

const units = { '': 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 } as const

/** Reads an option's value as a number of bytes: 500MB, 1.5 GB, 4096. */
export function byteCount(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?([kKMGT]?B)?$/.exec(text.trim()) ?? []
  const factor = units[(unit ?? '').toUpperCase() as keyof typeof units]
  if (number !== undefined && factor !== undefined) return Math.round(Number(number) * factor)
  throw new InvalidValue(`Found "${text}"; expected a size like 500MB or 4GB.`)
}
