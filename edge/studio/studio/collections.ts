import { captionOf } from '../generation/caption.ts'
import type { Generation } from '../generation/generate.ts'
import { toLink } from '../settings/link.ts'
import { byId, make } from '../ui/dom.ts'
import { toCanvas } from '../ui/pixels.ts'
import { openSavedImages, type SavedImage, type SavedImages } from './saved-images.ts'

/** The visitor's favourites and history. */
export interface Collections {
  addToHistory(generation: Generation): void
  isFavourite(generation: Generation, index: number): boolean
  /** Adds an image to the favourites, or removes it. */
  toggleFavourite(generation: Generation, index: number): void
}

/**
 * Opens the favourites and the history of this browser and shows them.
 * @param onOpen called with an image that is clicked
 */
export function createCollections(onOpen: (item: SavedImage) => void): Collections {
  const storage = openStorage()
  // Several studios can share a host: each folder has its own lists.
  const folder = new URL('.', location.href).pathname
  const history = openSavedImages(`ddpm-history ${folder}`, 24, storage)
  const favourites = openSavedImages(`ddpm-favourites ${folder}`, 48, storage)
  const show = () => {
    showImages('history', history, onOpen)
    showImages('favourites', favourites, onOpen)
  }
  show()
  return {
    addToHistory(generation) {
      history.add(toSavedImage(generation, 0))
      show()
    },
    isFavourite: (generation, index) => favourites.has(toSavedImage(generation, index)),
    toggleFavourite(generation, index) {
      const item = toSavedImage(generation, index)
      if (favourites.has(item)) favourites.remove(item)
      else favourites.add(item)
      show()
    },
  }
}

function showImages(
  id: 'history' | 'favourites',
  { items }: SavedImages,
  onOpen: (item: SavedImage) => void,
): void {
  const section = byId(id, HTMLElement)
  // The section stays visible when it is empty, so that the first image does not move the grid above.
  section.querySelector('p')!.hidden = items.length > 0
  const buttons = items.map((item) => {
    const { title, thumbnail } = item
    const attributes = {
      type: 'button',
      class: 'saved-image',
      'aria-label': `Generate again: ${title}`,
      title,
    }
    const image = make('img', { src: thumbnail, alt: '', width: '48', height: '48' })
    const button = make('button', attributes, image)
    button.addEventListener('click', () => onOpen(item))
    return button
  })
  section.querySelector('ol')!.replaceChildren(...buttons.map((button) => make('li', {}, button)))
}

function toSavedImage({ settings, images }: Generation, index: number): SavedImage {
  return {
    link: toLink(settings),
    title: captionOf(settings),
    thumbnail: toCanvas(images[index]!).toDataURL('image/png'),
    picture: index,
  }
}

/** Returns the local storage; null if the browser blocks it. */
function openStorage(): Storage | null {
  try {
    return localStorage
  } catch {
    return null
  }
}
