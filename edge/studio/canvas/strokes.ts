import { byId } from '../ui/dom.ts'

/** A place on the sheet, in its own pixels. */
export interface Point {
  readonly x: number
  readonly y: number
}

export interface Strokes {
  begin(): void
  stroke(from: Point, to: Point): void
  /** How far an arrow key goes. */
  step(): number
}

/** Pens, fingers, mice; and the keyboard: arrows move, with the space bar down they paint. */
export function takeStrokes(
  board: HTMLElement,
  sheet: HTMLCanvasElement,
  { begin, stroke, step }: Strokes,
): void {
  const placeOf = ({ clientX, clientY }: PointerEvent): Point => {
    const box = sheet.getBoundingClientRect()
    return {
      x: ((clientX - box.left) / box.width) * sheet.width,
      y: ((clientY - box.top) / box.height) * sheet.height,
    }
  }
  let last: (Point & { readonly pointer: number }) | null = null
  board.addEventListener('pointerdown', (event) => {
    // A second finger does not paint.
    if (event.button !== 0 || (last && last.pointer !== event.pointerId)) return
    board.setPointerCapture(event.pointerId)
    begin()
    last = { ...placeOf(event), pointer: event.pointerId }
    stroke(last, last)
  })
  board.addEventListener('pointermove', (event) => {
    if (event.pointerId !== last?.pointer) return
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
      const place = placeOf(part)
      stroke(last, place)
      last = { ...place, pointer: event.pointerId }
    }
  })
  for (const end of ['pointerup', 'pointercancel', 'lostpointercapture'] as const) {
    board.addEventListener(end, ({ pointerId }) => {
      if (pointerId === last?.pointer) last = null
    })
  }

  board.tabIndex = 0
  const crosshair = byId('crosshair', HTMLElement)
  let at: Point | null = null
  let painting = false
  const arrows: Readonly<Record<string, Point>> = {
    ArrowLeft: { x: -1, y: 0 },
    ArrowRight: { x: 1, y: 0 },
    ArrowUp: { x: 0, y: -1 },
    ArrowDown: { x: 0, y: 1 },
  }
  board.addEventListener('keydown', (event) => {
    const arrow = arrows[event.key]
    if (!arrow && event.key !== ' ') return
    event.preventDefault()
    const from = at ?? { x: sheet.width / 2, y: sheet.height / 2 }
    const inside = (value: number, most: number) => Math.min(Math.max(value, 0), most)
    at = arrow
      ? {
          x: inside(from.x + arrow.x * step(), sheet.width),
          y: inside(from.y + arrow.y * step(), sheet.height),
        }
      : from
    if (event.key === ' ' && !painting) {
      painting = true
      begin()
    }
    if (painting) stroke(from, at)
    crosshair.hidden = false
    crosshair.style.left = `${(at.x / sheet.width) * 100}%`
    crosshair.style.top = `${(at.y / sheet.height) * 100}%`
  })
  board.addEventListener('keyup', ({ key }) => {
    if (key === ' ') painting = false
  })
  board.addEventListener('blur', () => {
    painting = false
    crosshair.hidden = true
  })
}

/** Files that are dropped on the board, and pictures pasted anywhere while it is shown. */
export function takeFiles(board: HTMLElement, take: (file: File) => Promise<void>): void {
  const imageIn = (items: DataTransfer | null) =>
    Array.from(items?.files ?? []).find(({ type }) => type.startsWith('image/'))
  board.addEventListener('dragover', (event) => event.preventDefault())
  board.addEventListener('drop', (event) => {
    event.preventDefault()
    const file = imageIn(event.dataTransfer) ?? event.dataTransfer?.files[0]
    if (file) take(file)
  })
  document.addEventListener('paste', ({ clipboardData }) => {
    const file = imageIn(clipboardData)
    if (file && board.offsetParent !== null) take(file)
  })
}
