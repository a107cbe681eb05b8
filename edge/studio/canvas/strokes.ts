import { byId } from '../ui/dom.ts'

/** A position in pixels of the canvas. */
export interface Point {
  readonly x: number
  readonly y: number
}

export interface StrokeHandlers {
  /** Called before the first segment of a stroke. */
  begin(): void
  /** Called for every segment of a stroke. */
  stroke(from: Point, to: Point): void
  /** Returns the distance that an arrow key moves the brush, in pixels of the canvas. */
  keyboardStep(): number
}

/** Converts pointer and keyboard input on the board to strokes on the canvas. */
export function listenForStrokes(
  board: HTMLElement,
  canvas: HTMLCanvasElement,
  handlers: StrokeHandlers,
): void {
  listenForPointers(board, canvas, handlers)
  listenForKeys(board, canvas, handlers)
}

/** Converts mouse, pen and touch input on the board to strokes on the canvas. */
export function listenForPointers(
  board: HTMLElement,
  canvas: HTMLCanvasElement,
  { begin, stroke }: Pick<StrokeHandlers, 'begin' | 'stroke'>,
): void {
  const positionOf = ({ clientX, clientY }: PointerEvent): Point => {
    const box = canvas.getBoundingClientRect()
    return {
      x: ((clientX - box.left) / box.width) * canvas.width,
      y: ((clientY - box.top) / box.height) * canvas.height,
    }
  }
  let last: (Point & { readonly pointer: number }) | null = null
  board.addEventListener('pointerdown', (event) => {
    // Only one finger paints at a time.
    if (event.button !== 0 || (last && last.pointer !== event.pointerId)) return
    board.setPointerCapture(event.pointerId)
    begin()
    last = { ...positionOf(event), pointer: event.pointerId }
    stroke(last, last)
  })
  board.addEventListener('pointermove', (event) => {
    if (event.pointerId !== last?.pointer) return
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
      const position = positionOf(part)
      stroke(last, position)
      last = { ...position, pointer: event.pointerId }
    }
  })
  for (const end of ['pointerup', 'pointercancel', 'lostpointercapture'] as const) {
    board.addEventListener(end, ({ pointerId }) => {
      if (pointerId === last?.pointer) last = null
    })
  }
}

const arrows: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
}

/** Arrow keys move the brush; while the space bar is down, they paint. */
function listenForKeys(
  board: HTMLElement,
  canvas: HTMLCanvasElement,
  { begin, stroke, keyboardStep }: StrokeHandlers,
): void {
  board.tabIndex = 0
  const crosshair = byId('crosshair', HTMLElement)
  let position: Point | null = null
  let isPainting = false
  board.addEventListener('keydown', (event) => {
    const arrow = arrows[event.key]
    if (!arrow && event.key !== ' ') return
    event.preventDefault()
    const from = position ?? { x: canvas.width / 2, y: canvas.height / 2 }
    const clamp = (value: number, max: number) => Math.min(Math.max(value, 0), max)
    position = arrow
      ? {
          x: clamp(from.x + arrow.x * keyboardStep(), canvas.width),
          y: clamp(from.y + arrow.y * keyboardStep(), canvas.height),
        }
      : from
    if (event.key === ' ' && !isPainting) {
      isPainting = true
      begin()
    }
    if (isPainting) stroke(from, position)
    crosshair.hidden = false
    crosshair.style.left = `${(position.x / canvas.width) * 100}%`
    crosshair.style.top = `${(position.y / canvas.height) * 100}%`
  })
  board.addEventListener('keyup', ({ key }) => {
    if (key === ' ') isPainting = false
  })
  board.addEventListener('blur', () => {
    isPainting = false
    crosshair.hidden = true
  })
}
