import { UserError } from 'ddpm-sampler'
import { byId } from './dom.ts'
import { wantsCalm } from './preferences.ts'

/** How a page moves to what it wants to be seen. */
export function scrolling(): ScrollBehavior {
  return wantsCalm() ? 'auto' : 'smooth'
}

/** Does it, and shows what went wrong in words. */
export async function reportErrors(action: () => Promise<void>): Promise<void> {
  const message = byId('message', HTMLElement)
  message.hidden = true
  try {
    await action()
  } catch (error) {
    message.textContent =
      error instanceof UserError ? error.message : `Something went wrong: ${(error as Error).message}`
    message.hidden = false
    message.scrollIntoView({ block: 'nearest', behavior: scrolling() })
  }
}
