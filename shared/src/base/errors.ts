/**
 * An error that the user can fix, for example invalid input, a missing file or an unsupported option. The message states what
 * is wrong, what was expected and what to do. Commands and pages show it without a stack trace.
 */
export class UserError extends Error {
  override readonly name: string = 'UserError'
}
