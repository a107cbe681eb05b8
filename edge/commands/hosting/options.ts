import { InvalidArgumentError } from 'commander'

/** Parses a port number from the command line. */
export function parsePort(text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= 65535) return value
  throw new InvalidArgumentError('Expected a whole number from 0 (any free port) to 65535.')
}
