import { parsePort, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildSite } from '../build/site.ts'
import { folderStorage } from '../server/storage/folder.ts'
import { serveOnNode } from './hosting/node.ts'
import { defaultLimits } from './hosting/rate-limit.ts'
import { storageTarget, uploadRuntimeFiles } from './hosting/runtime-files.ts'

const command = new Command('npm run serve --')
  .description('Starts a server on Node, without Cloudflare, with the page and the models in a folder.')
  .argument('[folder]', 'folder of the published models', 'registry')
  .option('--port <number>', 'port to listen on', parsePort, 8787)
  .option('--host <name>', 'address to listen on', 'localhost')
  .option('--behind-proxy', 'trust X-Forwarded-For, which a proxy on another machine sends')
  .addHelpText(
    'after',
    `
Run it behind a server with HTTPS, such as nginx or Caddy, which sends X-Forwarded-For. The rate limit per client
address is ${defaultLimits.list} listings and ${defaultLimits.read} other requests per minute.

Publish on this machine with --folder, which works while the server runs:
  npm run publish -- runs/mine --folder registry
To publish from other machines, create a token, and set it on both machines:
  export DDPM_PUBLISH_TOKEN=$(openssl rand -hex 32)
  npm run publish -- runs/mine --to https://models.example

Examples:
  npm run serve
  npm run serve -- models --host 0.0.0.0 --port 80`,
  )
  .action(async (folder: string, options: { port: number; host: string; behindProxy?: true }) => {
    const { publicFolder, runtimeFiles } = await buildSite()
    const storage = folderStorage(folder)
    await uploadRuntimeFiles(storageTarget(storage), runtimeFiles)
    const publishToken = process.env['DDPM_PUBLISH_TOKEN'] || null
    const { url, stop } = await serveOnNode({ ...options, storage, publicFolder, publishToken })
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => stop().then(() => process.exit()))
    console.log(`Serving ${url} from ${folder}. Press Ctrl+C to stop.`)
  })

await runCommand(command)
