/**
 * The figures of the built-in set as signed distance functions: negative inside, positive outside, in units
 * of the figure's radius, y downwards, the origin at the centroid. Every boundary is at most 1.3 from the
 * origin.
 */
export const figures = ['circle', 'ring', 'square', 'triangle', 'star', 'heart'] as const
export type Figure = (typeof figures)[number]

/**
 * Where a figure stands in a picture. Pixel (0, 0) covers [0, 1) × [0, 1), so the middle of 32×32 is 16, 16.
 */
export interface Pose {
  /** Centroid in pixels, x to the right, y down. */
  readonly x: number
  readonly y: number
  /** Pixels. A circle's own radius; the other figures are scaled to look as heavy as that circle. */
  readonly radius: number
  /** Radians, clockwise as seen. */
  readonly angle: number
}

type Distance = (x: number, y: number) => number

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
 * How much of each pixel a figure covers: the distance of the pixel's centre to the boundary, clamped to half
 * a pixel either side, which is exact for a straight edge along the pixel grid.
 * @param out [size, size], receives 0 … 1
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

/** A regular polygon is a star whose inner corners lie on the middles of its edges. */
function regular(tips: number, outer: number, direction: number): Distance {
  return star(tips, outer, outer * Math.cos(Math.PI / tips), direction)
}

/**
 * A star of `tips` points. Mirror symmetry folds the plane into the wedge between the nearest tip's axis and
 * the next inner corner, which holds a single edge.
 * @param direction where the first tip points, radians clockwise from the right
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

/** A square of side 2·half standing on its corner, with a half disc on each of its two upper sides. */
function heart(half: number): Distance {
  const body = regular(4, Math.SQRT2 * half, Math.PI / 2)
  const lobe = disc(half)
  const lobeAt = half / Math.SQRT2
  // Each half disc (area πh²/2) has its centroid h + 4h/3π from the square's centre along its own diagonal;
  // the square weighs 4h². Projected on the vertical, the whole lies this much above the square's centre:
  const rise = (half * Math.SQRT2 * (Math.PI / 2 + 2 / 3)) / (4 + Math.PI)
  return (x, y) => {
    const below = y - rise
    return Math.min(body(x, below), lobe(Math.abs(x) - lobeAt, below + lobeAt))
  }
}

/** Math.hypot guards against overflow and is several times slower. */
function length(x: number, y: number): number {
  return Math.sqrt(x * x + y * y)
}
