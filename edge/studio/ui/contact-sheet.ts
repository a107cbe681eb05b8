import { byId, make, paint } from './dom.ts'

/** Space between two tiles, and height of the number below a tile, in CSS pixels. */
const gap = 8
const numberHeight = 17

/** Padding of the sheet and its surroundings, and margins between the elements above and below it, in CSS pixels. */
const paddingAround = 90

/** Minimum width of a tile, large enough for a finger. If necessary, the page scrolls. */
const minTileWidth = 64

interface Size {
  readonly width: number
  readonly height: number
}

export interface ContactSheet {
  /** Creates `count` empty tiles for images of a size. Reuses the existing tiles if both are unchanged. */
  resize(count: number, size: Size): void
  show(images: readonly ImageData[]): void
  /** Marks the selected image. */
  select(index: number): void
}

/**
 * Connects the grid of generated images: one canvas per image, scaled so that every image pixel is a whole number of
 * device pixels. The Tab key stops once at the grid: arrow keys, Home and End move inside it.
 * @param onSelect called with the index of an image when it is clicked
 * @param onMove called with the index of an image when a key moves the focus to it
 */
export function createContactSheet(
  onSelect: (index: number) => void,
  onMove: (index: number) => void,
): ContactSheet {
  const root = byId('contact-sheet', HTMLOListElement)
  let size: Size = { width: 1, height: 1 }
  let canvases: HTMLCanvasElement[] = []
  let buttons: HTMLButtonElement[] = []
  let columnCount = 1

  const layOut = () => {
    // The observer fires before the first model is chosen.
    if (canvases.length === 0) return
    const available = { width: root.clientWidth, height: availableHeight(root) }
    const { columns, scale } = arrangeTiles(canvases.length, size, available, window.devicePixelRatio)
    columnCount = columns
    root.style.gridTemplateColumns = `repeat(${columns}, max-content)`
    for (const canvas of canvases) {
      canvas.style.width = `${size.width * scale}px`
      canvas.style.height = `${size.height * scale}px`
    }
  }
  new ResizeObserver(layOut).observe(root)
  window.addEventListener('resize', layOut)
  root.addEventListener('keydown', (event) => {
    const index = buttons.indexOf(event.target as HTMLButtonElement)
    const target = moveInGrid(event.key, { index, count: buttons.length, columns: columnCount })
    if (index < 0 || target === null || event.ctrlKey || event.altKey || event.metaKey) return
    // Otherwise the page scrolls.
    event.preventDefault()
    buttons[target]!.focus()
    onMove(target)
  })

  return {
    resize(count, newSize) {
      const isSame =
        count === canvases.length && newSize.width === size.width && newSize.height === size.height
      // Reusing the tiles preserves the keyboard focus.
      if (isSame) return
      size = newSize
      const { width, height } = size
      canvases = Array.from({ length: count }, () =>
        make('canvas', { width: String(width), height: String(height) }),
      )
      buttons = canvases.map((canvas, i) => {
        const button = createTile(canvas, i + 1)
        button.addEventListener('click', () => onSelect(i))
        return button
      })
      root.replaceChildren(...buttons.map((button) => make('li', {}, button)))
      layOut()
    },
    show(images) {
      for (const [i, image] of images.entries()) if (canvases[i]) paint(canvases[i], image)
    },
    select(index) {
      for (const [i, button] of buttons.entries()) {
        button.setAttribute('aria-pressed', String(i === index))
        button.tabIndex = i === index ? 0 : -1
      }
    },
  }
}

function createTile(canvas: HTMLCanvasElement, number: number): HTMLButtonElement {
  const label = `Image ${number}`
  const attributes = { type: 'button', class: 'tile', 'aria-label': label, 'aria-pressed': 'false' }
  const caption = make('span', { class: 'tile-number', 'aria-hidden': 'true' }, String(number))
  return make('button', attributes, canvas, caption)
}

/** Returns the index of the image that a key moves to; null for other keys and at the edges of the grid. */
export function moveInGrid(
  key: string,
  { index, count, columns }: { index: number; count: number; columns: number },
): number | null {
  const targets: Readonly<Record<string, number>> = {
    ArrowLeft: index - 1,
    ArrowRight: index + 1,
    ArrowUp: index - columns,
    ArrowDown: index + columns,
    Home: 0,
    End: count - 1,
  }
  const target = targets[key]
  return target !== undefined && target >= 0 && target < count ? target : null
}

/** Computes the height of the window that the elements around the sheet leave free, but at least the minimum height. */
function availableHeight(root: HTMLElement): number {
  const others = Array.from(root.parentElement!.children, (child) =>
    child === root ? 0 : child.getBoundingClientRect().height,
  )
  const rest = window.innerHeight - others.reduce((sum, height) => sum + height, 0) - paddingAround
  return Math.max(rest, Number.parseFloat(getComputedStyle(root).minHeight))
}

/**
 * Computes the layout with the largest tiles.
 * @param available width and height in CSS pixels
 * @param pixelRatio device pixels per CSS pixel
 * @returns the number of columns, and the size of an image pixel in CSS pixels, a whole number of device pixels
 */
export function arrangeTiles(
  count: number,
  { width, height }: Size,
  available: Size,
  pixelRatio: number,
): { columns: number; scale: number } {
  const scaleFor = (columns: number, totalHeight: number) => {
    const rows = Math.ceil(count / columns)
    const tileWidth = (available.width - gap * (columns - 1)) / columns
    const tileHeight = totalHeight / rows - gap - numberHeight
    const scale = Math.min(tileWidth / width, tileHeight / height)
    return Math.max(1, Math.floor(scale * pixelRatio)) / pixelRatio
  }
  const layouts = Array.from({ length: count }, (_, i) => ({
    columns: i + 1,
    scale: scaleFor(i + 1, available.height),
    empty: (i + 1) * Math.ceil(count / (i + 1)) - count,
  }))
  const [best] = layouts.sort((a, b) => b.scale - a.scale || a.empty - b.empty)
  const { columns, scale } = best!
  if (scale * width >= minTileWidth) return { columns, scale }
  const fitting = Math.max(1, Math.min(count, Math.floor((available.width + gap) / (minTileWidth + gap))))
  return { columns: fitting, scale: scaleFor(fitting, Number.POSITIVE_INFINITY) }
}
