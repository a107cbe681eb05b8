import { byId, make } from './dom.ts'
import { explainError } from './error-text.ts'
import { scrollBehavior } from './preferences.ts'

/** Runs an action and shows its error, if any, in the page's error banner. */
export async function reportErrors(action: () => Promise<void>): Promise<void> {
  const banner = byId('error-banner', HTMLElement)
  banner.hidden = true
  try {
    await action()
  } catch (error) {
    const { sentence, details } = explainError(error)
    banner.replaceChildren(make('p', {}, sentence))
    if (details !== null) {
      banner.append(make('details', {}, make('summary', {}, 'Details'), make('p', {}, details)))
    }
    banner.hidden = false
    banner.scrollIntoView({ block: 'nearest', behavior: scrollBehavior() })
  }
}
