import { UserError } from 'ddpm-sampler'
import { byId } from './dom.ts'
import { scrollBehavior } from './preferences.ts'

/** Runs an action and shows its error, if any, in the page's error banner. */
export async function reportErrors(action: () => Promise<void>): Promise<void> {
  const banner = byId('error-banner', HTMLElement)
  banner.hidden = true
  try {
    await action()
  } catch (error) {
    banner.textContent =
      error instanceof UserError ? error.message : `Something went wrong: ${(error as Error).message}`
    banner.hidden = false
    banner.scrollIntoView({ block: 'nearest', behavior: scrollBehavior() })
  }
}
