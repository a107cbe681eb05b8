import type { Generation } from '../generation/generate.ts'
import { toLink } from '../settings/link.ts'

/** The entries that this page adds to the browser's history: one for each generation. */
export interface Visits {
  /** Adds an entry for a link, unless it is the current one. The first link replaces the address of the visit. */
  add(link: string): void
  /** Retains the result, so that the Back button shows it immediately. */
  retain(generation: Generation): void
  /** Returns the generation of a link if it is still in memory. */
  find(link: string): Generation | null
}

/** Max number of generations in memory. Each has up to 60 frames per image. */
const maxRetained = 4

/** @param onReturn called when the visitor goes back or forward, with the link of the entry */
export function createVisits(onReturn: () => void): Visits {
  let isFirst = true
  let retained: readonly { readonly link: string; readonly generation: Generation }[] = []
  const find = (link: string) => retained.find((entry) => entry.link === link)
  window.addEventListener('popstate', onReturn)
  return {
    add(link) {
      if (isFirst) history.replaceState(null, '', link)
      else if (link !== location.search + location.hash) history.pushState(null, '', link)
      isFirst = false
    },
    retain(generation) {
      const entry = { link: toLink(generation.settings), generation }
      retained = [entry, ...retained.filter(({ link }) => link !== entry.link)].slice(0, maxRetained)
    },
    find: (link) => find(link)?.generation ?? null,
  }
}
