import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { ReportData } from './protocol.ts'

const client = fileURLToPath(new URL('client/', import.meta.url))

/**
 * Builds the dashboard page as one HTML document with inline script and style. uPlot renders the charts. It was chosen
 * because it is small (50 kB), fast with thousands of points, maintained and MIT-licensed.
 * @param inlined content of a report; null for the live page, which receives its content from the server's URL "events"
 */
export async function buildPage(inlined: ReportData | null = null): Promise<string> {
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
