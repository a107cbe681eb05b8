import { byId } from '../ui/dom.ts'

/** Delay in milliseconds after which the page says that the server responds slowly. */
const slowAfter = 4000

/**
 * Shows text in place of the images while the list of models loads, and a button if that fails. The style sheet hides
 * both as soon as there are images.
 */
export async function showWhileLoading<T>(list: Promise<T>): Promise<T> {
  const text = byId('placeholder-text', HTMLElement)
  const slow = setTimeout(() => {
    text.textContent = 'Still loading the models: the server responds slowly.'
  }, slowAfter)
  try {
    return await list
  } catch (error) {
    text.textContent = 'The list of models could not be loaded.'
    const retry = byId('retry', HTMLButtonElement)
    retry.hidden = false
    retry.addEventListener('click', () => location.reload())
    throw error
  } finally {
    clearTimeout(slow)
  }
}

/** Explains that no model has been published. */
export function showNoModels(): void {
  for (const id of ['settings', 'action', 'placeholder']) byId(id, HTMLElement).hidden = true
  byId('no-models', HTMLElement).hidden = false
}
