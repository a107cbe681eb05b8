import { byId } from './dom.ts'

export interface Status {
  /** Shows a message and announces it to screen readers. */
  announce(text: string): void
  /**
   * Updates the status line and the progress bar. Not announced, because it changes many times per second.
   * @param share progress from 0 to 1; null if unknown
   */
  progress(text: string, share: number | null): void
}

/** Connects the status line, the progress bar and the announcement for screen readers. */
export function createStatus(): Status {
  const line = byId('progress-text', HTMLElement)
  const bar = byId('progress', HTMLProgressElement)
  const announcement = byId('announcement', HTMLElement)
  return {
    announce(text) {
      line.textContent = text
      announcement.textContent = text
    },
    progress(text, share) {
      line.textContent = text
      if (share === null) bar.removeAttribute('value')
      else bar.value = share
    },
  }
}
