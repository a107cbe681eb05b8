/** Colours of the style sheet, by the name of their custom property. */
type Colour = 'highlight' | 'dark-text' | 'dark-muted' | 'dark-line'

/** Draws on a canvas in the coordinates of the points: x to the right, y up, (0, 0) in the centre. */
export interface View {
  clear(): void
  /** @param radius in CSS pixels */
  points(values: Float32Array, colour: Colour, radius: number, opacity?: number): void
  /**
   * Draws one line per point through its positions.
   * @param positions [count, 2] each
   */
  lines(positions: readonly Float32Array[], colour: Colour, opacity: number): void
  /**
   * Draws arrows.
   * @param tails [count, 2]
   * @param vectors [count, 2]
   */
  arrows(tails: Float32Array, vectors: Float32Array, colour: Colour): void
  /** Draws the outline of the square [−halfWidth, halfWidth]². */
  square(halfWidth: number, colour: Colour): void
}

/**
 * Creates a view of the square [−halfWidth, halfWidth]². The canvas has the resolution of the screen.
 * @param render draws the contents; called again when the size changes
 */
export function createView(canvas: HTMLCanvasElement, halfWidth: number, render: () => void): View {
  const context = canvas.getContext('2d')!
  const style = getComputedStyle(canvas)
  const colourOf = (name: Colour) => style.getPropertyValue(`--${name}`)
  new ResizeObserver(() => {
    const size = Math.round(canvas.clientWidth * devicePixelRatio)
    if (size === 0 || canvas.width === size) return
    canvas.width = canvas.height = size
    render()
  }).observe(canvas)
  const scale = () => canvas.width / (2 * halfWidth)
  const px = (x: number) => (x + halfWidth) * scale()
  const py = (y: number) => (halfWidth - y) * scale()
  const begin = (colour: Colour, width: number, opacity: number) => {
    context.strokeStyle = context.fillStyle = colourOf(colour)
    context.globalAlpha = opacity
    context.lineWidth = width * devicePixelRatio
    context.lineJoin = 'round'
    context.beginPath()
  }
  return {
    clear() {
      context.clearRect(0, 0, canvas.width, canvas.height)
    },
    points(values, colour, radius, opacity = 1) {
      begin(colour, 1, opacity)
      for (let i = 0; i < values.length; i += 2) {
        const [x, y] = [px(values[i]!), py(values[i + 1]!)]
        context.moveTo(x, y)
        context.arc(x, y, radius * devicePixelRatio, 0, 2 * Math.PI)
      }
      context.fill()
    },
    lines([start, ...rest], colour, opacity) {
      begin(colour, 1, opacity)
      for (let i = 0; i < start!.length; i += 2) {
        context.moveTo(px(start![i]!), py(start![i + 1]!))
        for (const position of rest) context.lineTo(px(position[i]!), py(position[i + 1]!))
      }
      context.stroke()
    },
    arrows(tails, vectors, colour) {
      begin(colour, 1.25, 1)
      for (let i = 0; i < tails.length; i += 2) {
        const [x, y] = [px(tails[i]!), py(tails[i + 1]!)]
        const [dx, dy] = [vectors[i]! * scale(), -vectors[i + 1]! * scale()]
        const [tipX, tipY] = [x + dx, y + dy]
        context.moveTo(x, y)
        context.lineTo(tipX, tipY)
        // Two strokes of a third of the length, at 30° to the arrow.
        const cos = Math.cos(Math.PI / 6) / 3
        for (const sin of [-1 / 6, 1 / 6]) {
          context.moveTo(tipX, tipY)
          context.lineTo(tipX - (dx * cos - dy * sin), tipY - (dx * sin + dy * cos))
        }
      }
      context.stroke()
    },
    square(half, colour) {
      begin(colour, 1, 1)
      context.strokeRect(px(-half), py(half), 2 * half * scale(), 2 * half * scale())
    },
  }
}
