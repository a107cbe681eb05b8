/** A list of generated images in local storage, used for the history and for the favourites. */

/** One entry. The field names are part of the stored data. */
export interface SavedImage {
  /** Link that generates the image again. */
  readonly link: string
  /** Caption of the settings. */
  readonly title: string
  /** PNG file of the image, as a data URL. */
  readonly thumbnail: string
  /** Index of the image among those of the link. */
  readonly picture: number
}

export interface SavedImages {
  /** Latest first. */
  readonly items: readonly SavedImage[]
  /** Adds an image at the front, or moves it there. Drops the oldest ones above the limits. */
  add(item: SavedImage): void
  remove(item: SavedImage): void
  has(item: SavedImage): boolean
}

/** Browsers limit a site to about five million characters. Links with an image can have tens of thousands. */
const maxCharacters = 500_000

/**
 * Opens a list.
 * @param key key in the storage
 * @param maxItems max number of images
 * @param storage null if the browser offers none: the list then lasts until the page is closed
 */
export function openSavedImages(
  key: string,
  maxItems: number,
  storage: Pick<Storage, 'getItem' | 'setItem'> | null,
): SavedImages {
  let items = read(storage, key)
  const write = () => {
    while (items.length > maxItems || JSON.stringify(items).length > maxCharacters) items = items.slice(0, -1)
    try {
      storage?.setItem(key, JSON.stringify(items))
    } catch {
      // The storage is full or blocked: the list lasts until the page is closed.
    }
  }
  const isSame = (a: SavedImage, b: SavedImage) => a.link === b.link && a.picture === b.picture
  const without = (item: SavedImage) => items.filter((other) => !isSame(item, other))
  return {
    get items() {
      return items
    },
    add(item) {
      items = [item, ...without(item)]
      write()
    },
    remove(item) {
      items = without(item)
      write()
    },
    has: (item) => items.some((other) => isSame(item, other)),
  }
}

/** Entries that cannot be parsed are ignored. */
function read(storage: Pick<Storage, 'getItem'> | null, key: string): readonly SavedImage[] {
  try {
    const stored: unknown = JSON.parse(storage?.getItem(key) ?? '[]')
    return Array.isArray(stored) ? stored.filter(isSavedImage) : []
  } catch {
    return []
  }
}

function isSavedImage(value: unknown): value is SavedImage {
  const item = value as Partial<Record<keyof SavedImage, unknown>> | null
  return (
    typeof item?.link === 'string' &&
    item.link.startsWith('?') &&
    typeof item.title === 'string' &&
    typeof item.thumbnail === 'string' &&
    item.thumbnail.startsWith('data:image/png') &&
    typeof item.picture === 'number'
  )
}
