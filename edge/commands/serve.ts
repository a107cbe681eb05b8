import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildClient } from '../build/site.ts'
import { folderStorage } from '../server/storage/folder.ts'
import { serveOnNode } from './hosting/node.ts'
import { parsePort } from './hosting/options.ts'
import { defaultLimits } from './hosting/rate-limit.ts'
import { sendRuntime, storageTarget } from './hosting/runtime-files.ts'

const command = new Command('npm run serve --')
  .description('Serves the page and the models of a folder from this machine, without Cloudflare.')
  .argument('[folder]', 'where everything is kept', 'registry')
  .option('--port <number>', 'where to listen', parsePort, 8787)
  .option('--host <name>', 'on which address', 'localhost')
  .option('--behind-proxy', 'whoever connects is a proxy on another machine; X-Forwarded-For says who asks')
  .addHelpText(
    'after',
    `
Put a server with HTTPS before it, such as nginx or Caddy, and let it send X-Forwarded-For: an address may ask for
${defaultLimits.list} lists and ${defaultLimits.read} other things a minute. Publish into it with
  npm run publish -- runs/mine --folder registry
or, from other machines, with --to and the token in this server's environment variable DDPM_PUBLISH_TOKEN.

Examples:
  npm run serve
  DDPM_PUBLISH_TOKEN=secret npm run serve -- models --host 0.0.0.0 --port 80`,
  )
  .action(async (folder: string, options: { port: number; host: string; behindProxy?: true }) => {
    const { publicFolder, runtimeFiles } = await buildClient()
    const storage = folderStorage(folder)
    await sendRuntime(storageTarget(storage), runtimeFiles)
    const publishToken = process.env['DDPM_PUBLISH_TOKEN'] || null
    const { url, stop } = await serveOnNode({ ...options, storage, publicFolder, publishToken })
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => stop().then(() => process.exit()))
    console.log(`Serving ${url} from ${folder}. Ctrl+C stops.`)
  })

await runCommand(command)
