import { UserError } from '@ddpm/shared'

/** Why the registry does not do what it was asked. */
export type Reason = 'unknown model' | 'unknown version' | 'invalid' | 'missing files' | 'busy' | 'conflict'

/** Something that whoever publishes can mend; the message says how. */
export class Refusal extends UserError {
  readonly reason: Reason
  constructor(reason: Reason, message: string) {
    super(message)
    this.reason = reason
  }
}
