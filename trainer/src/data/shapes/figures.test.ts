import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { type Figure, figures, type Pose, renderFigure } from './figures.ts'

const size = 32
const poses: Pose[] = [
  { x: 16, y: 16, radius: 8, angle: 0 },
  { x: 15.3, y: 17.1, radius: 10.2, angle: 0.15 },
  { x: 16.9, y: 14.6, radius: 9.1, angle: -0.11 },
]

/** The figures as SVG, in units of the radius, y down. */
const svg: { [F in Figure]: string } = {
  circle: '<circle r="1"/>',
  ring: '<circle r="0.72" fill="none" stroke="black" stroke-width="0.56"/>',
  square: polygon(4, 45, [1.25]),
  triangle: polygon(3, -90, [1.3]),
  star: polygon(10, -90, [1.3, 0.65]),
  heart: `<g transform="translate(0 ${0.7 * Math.SQRT2 * 0.31326})">${polygon(4, 0, [0.7 * Math.SQRT2])}
    <circle r="0.7" cx="${0.35 * Math.SQRT2}" cy="${-0.35 * Math.SQRT2}"/>
    <circle r="0.7" cx="${-0.35 * Math.SQRT2}" cy="${-0.35 * Math.SQRT2}"/></g>`,
}

const areas: { [F in Figure]: number } = {
  circle: Math.PI,
  ring: 2 * Math.PI * 0.72 * 0.56,
  square: 2 * 1.25 ** 2,
  triangle: ((3 * Math.sqrt(3)) / 4) * 1.3 ** 2,
  star: 10 * 0.5 * 1.3 * 0.65 * Math.sin(Math.PI / 5),
  heart: (4 + Math.PI) * 0.7 ** 2,
}

for (const figure of figures) {
  test(`${figure}: matches the rendering of librsvg`, async () => {
    for (const pose of poses) {
      const ours = covered(figure, pose)
      const theirs = await rasterized(figure, pose)
      const differences = ours.map((a, pixel) => Math.abs(a - theirs[pixel]!))
      // Our coverage is computed from the distance to the boundary, which rounds sharp corners. A pixel at a corner may
      // differ by a third; all others agree within a few hundredths.
      assert.ok(Math.max(...differences) < 0.35, `max difference ${Math.max(...differences)}`)
      assert.ok(
        sum(differences) / sum(theirs) < 0.015,
        `total difference ${sum(differences) / sum(theirs)} of the area`,
      )
    }
  })

  test(`${figure}: area and centroid match geometry`, () => {
    for (const pose of poses) {
      const alpha = covered(figure, pose)
      const mass = sum(alpha)
      assert.ok(Math.abs(mass / pose.radius ** 2 / areas[figure] - 1) < 0.01)
      assert.ok(Math.abs(sum(alpha.map((a, pixel) => a * ((pixel % size) + 0.5))) / mass - pose.x) < 0.03)
      assert.ok(
        Math.abs(sum(alpha.map((a, pixel) => a * (Math.floor(pixel / size) + 0.5))) / mass - pose.y) < 0.03,
      )
    }
  })
}

function covered(figure: Figure, pose: Pose): number[] {
  const out = new Float32Array(size * size)
  renderFigure(figure, pose, size, out)
  return [...out]
}

async function rasterized(figure: Figure, { x, y, radius, angle }: Pose): Promise<number[]> {
  const degrees = (angle * 180) / Math.PI
  const document = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}">
    <g transform="translate(${x} ${y}) rotate(${degrees}) scale(${radius})">${svg[figure]}</g></svg>`
  const alpha = await sharp(Buffer.from(document)).extractChannel('alpha').raw().toBuffer()
  return Array.from(alpha, (byte) => byte / 255)
}

/**
 * Returns a polygon with corners at equal angles, the first at `start` degrees clockwise from the right. The radii repeat.
 */
function polygon(corners: number, start: number, radii: readonly number[]): string {
  const points = Array.from({ length: corners }, (_, corner) => {
    const angle = ((start + (360 * corner) / corners) * Math.PI) / 180
    const radius = radii[corner % radii.length]!
    return `${radius * Math.cos(angle)},${radius * Math.sin(angle)}`
  })
  return `<polygon points="${points.join(' ')}"/>`
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
