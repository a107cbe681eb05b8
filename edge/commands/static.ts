import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { formatManifest, UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildClient } from '../build/site.ts'
import { createApp } from '../server/app.ts'
import { immutableCacheControl } from '../server/http/deliver.ts'
import { memoryStorage } from '../server/storage/memory.ts'
import { readExported } from './publishing/exported.ts'
import { storeRegistry } from './publishing/registry.ts'

const command = new Command('npm run static --')
  .description('Writes page, sampler and models as plain files, for any host that hands out files.')
  .argument('<folders...>', 'exported models, or the folders of training runs that hold export/')
  .requiredOption('--out <folder>', 'where the site is written')
  .addHelpText(
    'after',
    `
The folder goes to a host with HTTPS, at its root or in a folder of it: GitHub Pages, Netlify, Cloudflare Pages, nginx,
a bucket that answers with index.html for folders. Hosts that read _headers, at their root, isolate the page, so that
WebAssembly may use threads, and let other sites draw from the models.

Examples:
  npm run static -- runs/mine --out site
  npx serve site`,
  )
  .action(async (folders: string[], { out }: { out: string }) => {
    const names = await writeSite(folders, out)
    console.log(`Wrote a page that draws from ${names.join(', ')} into ${out}.`)
  })

/** As many as the server lists at once. */
const mostModels = 100

/** What Netlify, Cloudflare Pages and others read. */
const headers = `/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Cross-Origin-Resource-Policy: cross-origin
  Access-Control-Allow-Origin: *
/files/*
  Cache-Control: ${immutableCacheControl}
`

/**
 * What the server would answer, as files: the list of models is the index of its folder.
 * @returns the models' names
 * @throws UserError where a folder holds no model, or two hold the same
 */
async function writeSite(folders: readonly string[], out: string): Promise<string[]> {
  const storage = memoryStorage()
  const registry = storeRegistry(storage, 'in memory', async () => {})
  const names: string[] = []
  const hashes = new Set<string>()
  for (const folder of folders) {
    const { manifest, files } = await readExported(folder)
    if (names.includes(manifest.name)) {
      throw new UserError(`Two folders hold a model of the name ${manifest.name}; name one of them.`)
    }
    names.push(manifest.name)
    const { version } = await registry.begin(manifest, formatManifest(manifest))
    for (const file of files) {
      hashes.add(file.sha256)
      await registry.send(file, () => {})
    }
    await registry.commit(manifest.name, version, [])
  }

  await buildClient({ publicFolder: out, packed: true })
  const app = createApp(() => ({
    storage,
    assets: async () => new Response(null, { status: 404 }),
    publishToken: null,
    allow: async () => true,
    log: () => {},
  }))
  const write = async (path: string, to = path) => {
    const answer = await app.request(path)
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}.`)
    const place = join(out, to)
    await mkdir(dirname(place), { recursive: true })
    await writeFile(place, new Uint8Array(await answer.arrayBuffer()))
  }
  await write(`/api/models?limit=${mostModels}`, '/api/models/index.html')
  for (const name of names) await write(`/api/models/${name}`)
  for (const sha256 of hashes) await write(`/files/${sha256}`)
  await writeFile(join(out, '_headers'), headers)
  return names
}

await runCommand(command)
