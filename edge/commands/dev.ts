import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildClient } from '../build/site.ts'
import type { ModelSummary } from '../server/registry/record.ts'
import { localBucket } from './hosting/local-bucket.ts'
import { parsePort } from './hosting/options.ts'
import { sendRuntime, storageTarget } from './hosting/runtime-files.ts'
import { freePort, serve } from './hosting/workerd.ts'

const command = new Command('npm run dev --')
  .description('Serves the page and the published models on this machine.')
  .option('--port <number>', 'where to listen', parsePort, 8787)
  .option(
    '--host <name>',
    'on which address; 0.0.0.0 lets others in, though browsers give WebGPU to localhost and HTTPS only',
    'localhost',
  )
  .option('--persist-to <folder>', 'where the local bucket is kept (default: .wrangler/state)')
  .addHelpText(
    'after',
    `
Examples:
  npm run dev
  npm run dev -- --port 9000`,
  )
  .action(async (options: { port: number; host: string; persistTo?: string }) => {
    // Before the build, so that a port in use is known at once.
    await freePort(options.port, options.host)
    const { publicFolder, runtimeFiles } = await buildClient()
    const bucket = await localBucket(options.persistTo)
    await sendRuntime(storageTarget(bucket.storage), runtimeFiles).finally(() => bucket.close())
    const { url, stop } = await serve({ ...options, publicFolder })
    stopWithParent(stop)
    console.log(`Serving ${url}`)
    console.log(await published(url))
  })

/** Says which models the page at `url` offers. */
async function published(url: string): Promise<string> {
  const response = await fetch(`${url}/api/models`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  if (models.length > 0) return `Models: ${models.map(({ name }) => name).join(', ')}. Ctrl+C stops.`
  return [
    'No model is published yet. Train one and publish it, in another terminal:',
    '  npm run train -- --help',
    '  npm run publish -- --help',
    'Ctrl+C stops.',
  ].join('\n')
}

/** Stops the server on a signal, and when the program that started this one is gone. */
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
    // Wrangler's own listeners would exit at once, with an error's code.
    process.removeAllListeners(signal).on(signal, end)
  }
  setInterval(() => process.ppid !== parent && end(), 1000)
}

await runCommand(command)
