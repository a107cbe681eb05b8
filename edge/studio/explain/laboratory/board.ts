import { listenForPointers, type Point } from '../../canvas/strokes.ts'
import { byId, make } from '../../ui/dom.ts'
import { formatNumber } from '../../ui/format.ts'
import { halfWidth } from './diffusion.ts'
import { createShape, jitter, type Shape, shapes } from './points.ts'
import { createView } from './view.ts'

export interface Board {
  /** Returns the training points, [count, 2]. */
  points(): Float32Array
  /** Returns a sentence about the points. */
  description(): string
}

/** Distance between the points of a stroke, and the standard deviation of their jitter. */
const spacing = 0.035
const spread = 0.035
const maxPoints = 2000

/**
 * Connects the canvas on which the visitor draws training points, the buttons for shapes, and Clear.
 * It starts with two moons.
 * @param onChange called after every change by the visitor
 */
export function createBoard(onChange: () => void): Board {
  const canvas = byId('points', HTMLCanvasElement)
  let points: Float32Array = new Float32Array(0)
  let description = ''
  /** Number of points drawn so far. It seeds the jitter of the next ones. */
  let drawn = 0

  const render = () => {
    view.clear()
    view.points(points, 'highlight', 1.5)
  }
  const view = createView(canvas, halfWidth, render)
  const show = (newPoints: Float32Array, newDescription: string) => {
    points = newPoints
    description = newDescription
    canvas.setAttribute('aria-label', `Drawing area with the training points. ${description}`)
    render()
  }
  const showShape = (shape: Shape) => {
    const points = createShape(shape)
    show(points, `${shape}: ${formatNumber(points.length / 2)} points.`)
  }

  const toCoordinates = ({ x, y }: Point) => [
    ((2 * x) / canvas.width - 1) * halfWidth,
    (1 - (2 * y) / canvas.height) * halfWidth,
  ]
  /** Distance from the start of the segment to the next point. */
  let distance = 0
  const addStroke = (from: Point, to: Point) => {
    const [x0, y0] = toCoordinates(from) as [number, number]
    const [x1, y1] = toCoordinates(to) as [number, number]
    const length = Math.hypot(x1 - x0, y1 - y0)
    const added: number[] = []
    for (; distance <= length && points.length + added.length < 2 * maxPoints; distance += spacing) {
      const share = length === 0 ? 0 : distance / length
      const [dx, dy] = jitter(2 + drawn++, 1, spread)
      added.push(inside(x0 + share * (x1 - x0) + dx!), inside(y0 + share * (y1 - y0) + dy!))
    }
    distance = Math.max(distance - length, 0)
    if (added.length === 0) return
    const next = Float32Array.from([...points, ...added])
    const isFull = next.length === 2 * maxPoints
    show(next, `${formatNumber(next.length / 2)} points${isFull ? ', the maximum' : ''}.`)
    onChange()
  }
  listenForPointers(canvas, canvas, {
    begin() {
      distance = 0
    },
    stroke: addStroke,
  })

  byId('shapes', HTMLElement).append(
    ...shapes.map((shape) => {
      const button = make('button', { type: 'button' }, shape)
      button.addEventListener('click', () => {
        showShape(shape)
        onChange()
      })
      return button
    }),
  )
  byId('clear-points', HTMLButtonElement).addEventListener('click', () => {
    show(new Float32Array(0), 'No points.')
    onChange()
  })
  showShape(shapes[0])
  return { points: () => points, description: () => description }
}

function inside(value: number): number {
  return Math.min(Math.max(value, -halfWidth), halfWidth)
}
