/**
 * Something the user can mend: bad input, a missing file, an impossible option. The message names what was
 * found, what was expected and what to do; commands and pages print it alone, without a stack trace.
 */
export class UserError extends Error {
  override readonly name: string = 'UserError'
}
