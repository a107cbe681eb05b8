import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'

/** Renders an Observable Plot chart as a standalone SVG file, black on white in every viewer. */
export function chartSvg(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const svg = Plot.plot({
    ...options,
    document,
    style: { color: 'black', backgroundColor: 'white', fontFamily: 'sans-serif' },
  })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return `${svg.outerHTML}\n`
}
