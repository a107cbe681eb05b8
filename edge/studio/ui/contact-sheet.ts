import { byId, make, paint } from './dom.ts'

/** Between two frames, and a frame's number below it, in CSS pixels. */
const gap = 8
const numberHeight = 17

/** No smaller than a finger, even if the sheet then has to scroll. */
const smallest = 64

interface Size {
  readonly width: number
  readonly height: number
}

export interface Frames {
  /** Empty frames for so many pictures of a size. */
  clear(count: number, size: Size): void
  show(images: readonly ImageData[]): void
  /** Marks the picture that everything else on the page is about. */
  pick(index: number): void
}

/** The contact sheet: one canvas per picture, scaled by whole numbers so that every pixel is a crisp square. */
export function createFrames(onPick: (index: number) => void): Frames {
  const root = byId('frames', HTMLOListElement)
  let size: Size = { width: 1, height: 1 }
  let canvases: HTMLCanvasElement[] = []
  let buttons: HTMLButtonElement[] = []

  const layOut = () => {
    // The first size is observed before a model has been chosen.
    if (canvases.length === 0) return
    const room = { width: root.clientWidth, height: sheetHeight(root) }
    const { columns, scale } = arrange(canvases.length, size, room, window.devicePixelRatio)
    root.style.gridTemplateColumns = `repeat(${columns}, max-content)`
    for (const canvas of canvases) {
      canvas.style.width = `${size.width * scale}px`
      canvas.style.height = `${size.height * scale}px`
    }
  }
  new ResizeObserver(layOut).observe(root)

  return {
    clear(count, newSize) {
      const same = count === canvases.length && newSize.width === size.width && newSize.height === size.height
      // Another drawing of the same form leaves the focus where it is.
      if (same) return
      size = newSize
      const { width, height } = size
      canvases = Array.from({ length: count }, () =>
        make('canvas', { width: String(width), height: String(height) }),
      )
      buttons = canvases.map((canvas, i) => {
        const number = make('span', { class: 'number', 'aria-hidden': 'true' }, String(i + 1))
        const label = `Picture ${i + 1}`
        const button = make(
          'button',
          { type: 'button', class: 'frame', 'aria-label': label, 'aria-pressed': 'false' },
          canvas,
          number,
        )
        button.addEventListener('click', () => onPick(i))
        return button
      })
      root.replaceChildren(...buttons.map((button) => make('li', {}, button)))
      layOut()
    },
    show(images) {
      for (const [i, image] of images.entries()) if (canvases[i]) paint(canvases[i], image)
    },
    pick(index) {
      for (const [i, button] of buttons.entries()) button.setAttribute('aria-pressed', String(i === index))
    },
  }
}

/** What of the window is left for frames. */
function sheetHeight(root: HTMLElement): number {
  const edges = Array.from(root.parentElement!.children, (child) => (child === root ? 0 : child.clientHeight))
  const left = window.innerHeight - edges.reduce((sum, height) => sum + height, 0) - 80
  // On a phone that is nothing; there the page is scrolled.
  return Math.max(left, Math.min(root.clientWidth, 400))
}
/**
 * The number of columns that gives the largest frames in the room there is, and the size of a pixel in CSS pixels: a
 * whole number of the screen's own.
 */
export function arrange(
  count: number,
  { width, height }: Size,
  room: Size,
  screen: number,
): { columns: number; scale: number } {
  const scaleFor = (columns: number, high: number) => {
    const rows = Math.ceil(count / columns)
    const frameWidth = (room.width - gap * (columns - 1)) / columns
    const frameHeight = high / rows - gap - numberHeight
    const scale = Math.min(frameWidth / width, frameHeight / height)
    return Math.max(1, Math.floor(scale * screen)) / screen
  }
  const layouts = Array.from({ length: count }, (_, i) => ({
    columns: i + 1,
    scale: scaleFor(i + 1, room.height),
    empty: (i + 1) * Math.ceil(count / (i + 1)) - count,
  }))
  const [best] = layouts.sort((a, b) => b.scale - a.scale || a.empty - b.empty)
  const { columns, scale } = best!
  if (scale * width >= smallest) return { columns, scale }
  const fitting = Math.max(1, Math.min(count, Math.floor((room.width + gap) / (smallest + gap))))
  return { columns: fitting, scale: scaleFor(fitting, Number.POSITIVE_INFINITY) }
}
