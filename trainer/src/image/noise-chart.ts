import { evaluationsOf, type Plan } from '@ddpm/shared'

/** Where x stands on the way: before the first row, and after each. */
function pathOf({ rows }: Plan): number[] {
  return [rows[0]!.alphaBar, ...rows.map(({ alphaBarNext }) => alphaBarNext)]
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/**
 * The share of noise in x, √(1−ᾱ), as bars of text: one line per row, or per some of them where there are many.
 * @param width characters of a whole bar
 */
export function noiseBars(plan: Plan, width = 60, mostLines = 50): string {
  const path = pathOf(plan)
  const stride = Math.ceil(path.length / mostLines)
  const shown = path.flatMap((alphaBar, i) =>
    i % stride === 0 || i === path.length - 1 ? [{ alphaBar, i }] : [],
  )
  const digits = String(path.length - 1).length
  const lines = shown.map(({ alphaBar, i }) => {
    const length = Math.round(Math.sqrt(1 - alphaBar) * width * 8)
    const bar = '█'.repeat(Math.floor(length / 8)) + eighths[length % 8]
    return `${String(i).padStart(digits)}  ${Math.sqrt(1 - alphaBar).toFixed(3)}  ${bar}`.trimEnd()
  })
  return ['Noise left, √(1−ᾱ), after so many rows:', ...lines].join('\n')
}

/** Log of the signal-to-noise ratio, −λ, within what a chart can show. */
function noisiness(alphaBar: number): number {
  return Math.min(Math.max(0.5 * Math.log((1 - alphaBar) / Math.max(alphaBar, 1e-12)), -6), 6)
}

/** The same as a drawing: √(1−ᾱ), and log(σ/α) = −λ, over the rows. Dots are where the network is asked. */
export function noiseSvg(plan: Plan): string {
  const path = pathOf(plan)
  const [width, height, left, top] = [720, 300, 56, 40]
  const x = (i: number) => left + ((width - 2 * left) * i) / (path.length - 1)
  const share = (alphaBar: number) => top + (height - 2 * top) * (1 - Math.sqrt(1 - alphaBar))
  const log = (alphaBar: number) => top + (height - 2 * top) * (0.5 - noisiness(alphaBar) / 12)
  const line = (y: (alphaBar: number) => number, colour: string) => {
    const points = path.map((alphaBar, i) => `${x(i).toFixed(1)},${y(alphaBar).toFixed(1)}`)
    return `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.join(' ')}"/>`
  }
  const dots = (y: (alphaBar: number) => number, colour: string) =>
    plan.rows.flatMap(({ t, alphaBar }, i) =>
      t === null
        ? []
        : [`<circle cx="${x(i).toFixed(1)}" cy="${y(alphaBar).toFixed(1)}" r="2.5" fill="${colour}"/>`],
    )
  const [first, second] = ['#2a6fdb', '#e23e36']
  const text = (at: number, y: number, anchor: string, words: string, colour = '#444') =>
    `<text x="${at}" y="${y}" text-anchor="${anchor}" fill="${colour}">${words}</text>`
  const ticks = [0, 0.5, 1].flatMap((part) => {
    const y = top + (height - 2 * top) * (1 - part)
    return [
      `<line x1="${left}" x2="${width - left}" y1="${y}" y2="${y}" stroke="#ddd"/>`,
      text(left - 8, y + 4, 'end', String(part), first),
      text(width - left + 8, y + 4, 'start', String(12 * part - 6), second),
    ]
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="${width}" height="${height}" fill="white"/>
${text(width / 2, 20, 'middle', `${plan.name}, ${evaluationsOf(plan)} network evaluations`)}
${text(left, 34, 'start', '√(1−ᾱ)', first)}
${text(width - left, 34, 'end', 'log(σ/α) = −λ', second)}
${ticks.join('\n')}
${line(share, first)}
${line(log, second)}
${[...dots(share, first), ...dots(log, second)].join('\n')}
${text(width / 2, height - 12, 'middle', `rows 0 … ${plan.rows.length}`)}
</svg>
`
}
