/** What was drawn lately, and what was kept, in this browser's own memory. */

export interface Kept {
  /** Draws it again. */
  readonly link: string
  readonly title: string
  /** A PNG of one picture, as a data URL. */
  readonly thumbnail: string
  /** Which picture of the drawing it is. */
  readonly image: number
}

export interface Shelf {
  /** Latest first. */
  readonly items: readonly Kept[]
  /** Puts it in front; what is there already moves, and the oldest beyond the limits goes. */
  put(item: Kept): void
  remove(item: Kept): void
}

/** Browsers give a site about five million characters; a link with pictures in it may take some ten thousand. */
const mostCharacters = 500_000

export function openFavourites(
  name: string,
  most: number,
  storage: Pick<Storage, 'getItem' | 'setItem'> | null,
): Shelf {
  let items = read(storage, name)
  const write = () => {
    while (items.length > most || JSON.stringify(items).length > mostCharacters) items = items.slice(0, -1)
    try {
      storage?.setItem(name, JSON.stringify(items))
    } catch {
      // Full, or forbidden: it holds as long as the page is open.
    }
  }
  const others = ({ link, image }: Kept) => items.filter((item) => item.link !== link || item.image !== image)
  return {
    get items() {
      return items
    },
    put(item) {
      items = [item, ...others(item)]
      write()
    },
    remove(item) {
      items = others(item)
      write()
    },
  }
}

/** What an older version or another hand wrote and cannot be understood counts as nothing. */
function read(storage: Pick<Storage, 'getItem'> | null, name: string): readonly Kept[] {
  try {
    const found: unknown = JSON.parse(storage?.getItem(name) ?? '[]')
    return Array.isArray(found) ? found.filter(isKept) : []
  } catch {
    return []
  }
}

function isKept(value: unknown): value is Kept {
  const item = value as Partial<Record<keyof Kept, unknown>> | null
  return (
    typeof item?.link === 'string' &&
    item.link.startsWith('?') &&
    typeof item.title === 'string' &&
    typeof item.thumbnail === 'string' &&
    item.thumbnail.startsWith('data:image/png') &&
    typeof item.image === 'number'
  )
}
