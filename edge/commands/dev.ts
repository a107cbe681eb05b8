import { parsePort, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildSite } from '../build/site.ts'
import type { ModelSummary } from '../server/registry/record.ts'
import { openLocalBucket } from './hosting/local-bucket.ts'
import { storageTarget, uploadRuntimeFiles } from './hosting/runtime-files.ts'
import { findFreePort, serveOnWorkerd } from './hosting/workerd.ts'

const command = new Command('npm run dev --')
  .description(
    'Starts a local server with the page and the models in the local bucket, a folder that emulates Cloudflare R2.',
  )
  .option('--port <number>', 'port to listen on', parsePort, 8787)
  .option(
    '--host <name>',
    'address to listen on; 0.0.0.0 allows other machines, but browsers allow WebGPU on localhost and HTTPS only',
    'localhost',
  )
  .option('--persist-to <folder>', 'folder of the local bucket (default: .wrangler/state)')
  .addHelpText(
    'after',
    `
Examples:
  npm run dev
  npm run dev -- --port 9000`,
  )
  .action(async (options: { port: number; host: string; persistTo?: string }) => {
    // Checked before the build, so that a port in use is reported at once.
    await findFreePort(options.port, options.host)
    const { publicFolder, runtimeFiles } = await buildSite()
    const bucket = await openLocalBucket(options.persistTo)
    await uploadRuntimeFiles(storageTarget(bucket.storage), runtimeFiles).finally(() => bucket.close())
    const { url, stop } = await serveOnWorkerd({ ...options, publicFolder })
    stopWithParent(stop)
    console.log(`Serving ${url}`)
    console.log(await modelList(url))
  })

/** Lists the models that the server at `url` offers, or how to publish one. */
async function modelList(url: string): Promise<string> {
  const response = await fetch(`${url}/api/models`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  if (models.length > 0) return `Models: ${models.map(({ name }) => name).join(', ')}. Press Ctrl+C to stop.`
  return [
    'No model is published yet. Train and publish one in another terminal:',
    '  npm run train -- --help',
    '  npm run publish -- --help',
    'Press Ctrl+C to stop.',
  ].join('\n')
}

/** Stops the server on a signal, and when the parent process has exited. */
function stopWithParent(stop: () => Promise<void>): void {
  const parent = process.ppid
  let stopping = false
  const end = async () => {
    if (stopping) return
    stopping = true
    await stop()
    process.exit()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // Replaces wrangler's own listeners, which would exit at once with an error code.
    process.removeAllListeners(signal).on(signal, end)
  }
  setInterval(() => process.ppid !== parent && end(), 1000)
}

await runCommand(command)
