import { byId } from './dom.ts'

export interface Status {
  /** A stage begins: shown, and read out to those who listen. */
  say(text: string): void
  /** How far it is: shown only, for it changes many times a second. A null share is one nobody knows. */
  progress(text: string, share: number | null): void
}

/** The line and the bar that tell what goes on. */
export function createStatus(): Status {
  const text = byId('progress-text', HTMLElement)
  const bar = byId('progress', HTMLProgressElement)
  const announcement = byId('announcement', HTMLElement)
  const progress: Status['progress'] = (shown, share) => {
    text.textContent = shown
    if (share === null) bar.removeAttribute('value')
    else bar.value = share
  }
  return {
    say(said) {
      text.textContent = said
      announcement.textContent = said
    },
    progress,
  }
}
