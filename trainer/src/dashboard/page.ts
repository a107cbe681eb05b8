import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Inlined } from './protocol.ts'

const client = fileURLToPath(new URL('client/', import.meta.url))

/**
 * The page as one HTML document that fetches nothing: script, style and uPlot are inside. uPlot draws the curves: small
 * (50 kB), fast with thousands of points, kept up, MIT.
 * @param inlined what a report shows; without it the page listens to `events`
 */
export async function buildPage(inlined: Inlined | null = null): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${client}main.ts`, `${client}style.css`],
    bundle: true,
    format: 'iife',
    target: 'es2022',
    minify: true,
    legalComments: 'inline',
    outdir: client,
    write: false,
    logLevel: 'warning',
  })
  const output = (suffix: string) => outputFiles.find(({ path }) => path.endsWith(suffix))!.text
  const html = await readFile(`${client}index.html`, 'utf8')
  return html
    .replace('/*style*/', () => output('.css'))
    .replace('/*script*/', () => output('.js'))
    .replace(/(id="data">\s*)null/, (_, start) => start + JSON.stringify(inlined).replaceAll('<', '\\u003c'))
}
