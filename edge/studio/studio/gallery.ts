import { byId, make } from '../ui/dom.ts'
import type { Kept, Shelf } from './favourites.ts'

/** Shows what was drawn lately and what was kept; a press draws it again. */
export function showShelf(id: 'history' | 'favourites', shelf: Shelf, onOpen: (item: Kept) => void): void {
  const section = byId(id, HTMLElement)
  const list = section.querySelector('ol')!
  section.hidden = shelf.items.length === 0
  list.replaceChildren(
    ...shelf.items.map((item) => {
      const label = `Draw again: ${item.title}`
      const image = make('img', { src: item.thumbnail, alt: '', width: '48', height: '48' })
      const button = make(
        'button',
        { type: 'button', class: 'kept', 'aria-label': label, title: item.title },
        image,
      )
      button.addEventListener('click', () => onOpen(item))
      return make('li', {}, button)
    }),
  )
}
