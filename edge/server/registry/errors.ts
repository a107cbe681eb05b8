import { UserError } from '@ddpm/shared'

/** Why the registry rejected an operation. The app maps each reason to an HTTP status. */
export type Reason = 'unknown model' | 'unknown version' | 'invalid' | 'missing files' | 'busy' | 'conflict'

/** Error that the publisher can fix; its message says how. */
export class RegistryError extends UserError {
  readonly reason: Reason
  constructor(reason: Reason, message: string) {
    super(message)
    this.reason = reason
  }
}
