import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'

/** A chart by Observable Plot as an SVG file of its own: black on white, whatever shows it. */
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
