/** The figures of the built-in set. */
export const figures = ['circle', 'ring', 'square', 'triangle', 'star', 'heart'] as const
export type Figure = (typeof figures)[number]

/** Position, size and angle of a figure. Pixel (0, 0) covers [0, 1) × [0, 1), so the middle of 32×32 is (16, 16). */
export interface Pose {
  /** Centroid in pixels, x to the right, y down. */
  readonly x: number
  readonly y: number
  /** Pixels. The radius of a circle; the other figures are scaled to about the same visual weight. */
  readonly radius: number
  /** Radians, clockwise. */
  readonly angle: number
}

/**
 * A signed distance function: negative inside, positive outside, in units of the figure's radius, y downwards, origin at the
 * centroid.
 */
type Distance = (x: number, y: number) => number

/** Max distance of the boundary of any figure from the origin. */
const reach = 1.3
const distances: { readonly [F in Figure]: Distance } = {
  circle: disc(1),
  ring: (x, y) => Math.abs(length(x, y) - 0.72) - 0.28,
  square: regular(4, 1.25, Math.PI / 4),
  triangle: regular(3, reach, -Math.PI / 2),
  star: star(5, reach, 0.65, -Math.PI / 2),
  heart: heart(0.7),
}

/**
 * Renders the coverage of each pixel: the distance of its centre to the boundary, clamped to half a pixel on either side.
 * This is exact for straight edges along the pixel grid.
 * @param out [size, size], receives 0 to 1
 */
export function renderFigure(figure: Figure, pose: Pose, size: number, out: Float32Array): void {
  const distance = distances[figure]
  const { x, y, radius, angle } = pose
  const cos = Math.cos(angle) / radius
  const sin = Math.sin(angle) / radius
  const outside = (reach + 0.5 / radius) ** 2
  for (let row = 0, index = 0; row < size; row++) {
    const dy = row + 0.5 - y
    for (let column = 0; column < size; column++, index++) {
      const dx = column + 0.5 - x
      const u = cos * dx + sin * dy
      const v = cos * dy - sin * dx
      out[index] = u * u + v * v > outside ? 0 : Math.min(1, Math.max(0, 0.5 - radius * distance(u, v)))
    }
  }
}

function disc(radius: number): Distance {
  return (x, y) => length(x, y) - radius
}

/** Returns the distance to a regular polygon: a star whose inner corners are the midpoints of its edges. */
function regular(tips: number, outer: number, direction: number): Distance {
  return star(tips, outer, outer * Math.cos(Math.PI / tips), direction)
}

/**
 * Returns the distance to a star. Mirror symmetry folds the plane into the wedge between the axis of the nearest tip and the
 * next inner corner, which contains a single edge.
 * @param direction direction of the first tip, radians clockwise from the right
 */
function star(tips: number, outer: number, inner: number, direction: number): Distance {
  const wedge = Math.PI / tips
  const axisX = Array.from({ length: tips }, (_, tip) => Math.cos(direction + 2 * wedge * tip))
  const axisY = Array.from({ length: tips }, (_, tip) => Math.sin(direction + 2 * wedge * tip))
  const edgeX = inner * Math.cos(wedge) - outer
  const edgeY = inner * Math.sin(wedge)
  const edgeSquared = edgeX * edgeX + edgeY * edgeY
  return (x, y) => {
    let along = 0
    for (let tip = 0; tip < tips; tip++) along = Math.max(along, axisX[tip]! * x + axisY[tip]! * y)
    const fromTipX = along - outer
    const fromTipY = Math.sqrt(Math.max(0, x * x + y * y - along * along))
    const nearest = Math.min(1, Math.max(0, (fromTipX * edgeX + fromTipY * edgeY) / edgeSquared))
    const away = length(fromTipX - nearest * edgeX, fromTipY - nearest * edgeY)
    return edgeX * fromTipY - edgeY * fromTipX > 0 ? -away : away
  }
}

/** Returns the distance to a square of side 2·half, standing on a corner, with a half disc on each of its upper sides. */
function heart(half: number): Distance {
  const body = regular(4, Math.SQRT2 * half, Math.PI / 2)
  const lobe = disc(half)
  const lobeAt = half / Math.SQRT2
  // The square has the area 4h². Each half disc has the area πh²/2 and its centroid at h + 4h/3π from the centre of the
  // square, along its own diagonal. The vertical distance of the common centroid from the centre of the square:
  const rise = (half * Math.SQRT2 * (Math.PI / 2 + 2 / 3)) / (4 + Math.PI)
  return (x, y) => {
    const below = y - rise
    return Math.min(body(x, below), lobe(Math.abs(x) - lobeAt, below + lobeAt))
  }
}

/** Computes √(x² + y²). Math.hypot is slower, because it also prevents overflow. */
function length(x: number, y: number): number {
  return Math.sqrt(x * x + y * y)
}
