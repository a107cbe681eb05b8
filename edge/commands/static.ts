import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildSite } from '../build/site.ts'
import { createApp } from '../server/app.ts'
import { immutableCacheControl } from '../server/http/deliver.ts'
import { memoryStorage } from '../server/storage/memory.ts'
import { readExported } from './publishing/exported.ts'
import { publishModel } from './publishing/publish-model.ts'
import { storeRegistry } from './publishing/registry.ts'

const command = new Command('npm run static --')
  .description('Writes the page, the sampler and models as static files, for any file host.')
  .argument('<folders...>', 'folders of exported models, or of training runs that contain export/')
  .requiredOption('--out <folder>', 'output folder')
  .addHelpText(
    'after',
    `
Upload the output folder to a host with HTTPS, at its root or in a sub-folder: GitHub Pages, Netlify, Cloudflare Pages,
nginx, or a bucket that serves index.html for folders. Some hosts, such as Netlify and Cloudflare Pages, apply the file
_headers at their root: it enables WebAssembly threads and lets other sites use the models.

Examples:
  npm run static -- runs/mine --out site
  npx serve site`,
  )
  .action(async (folders: string[], { out }: { out: string }) => {
    const names = await writeSite(folders, out)
    console.log(`Wrote the page with ${names.join(', ')} to ${out}.`)
  })

/** Maximum number of models in the list of the static site: the server's maximum page size. */
const maxModels = 100

/** The file _headers in the format of Netlify and Cloudflare Pages. */
const headers = `/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Cross-Origin-Resource-Policy: cross-origin
  Access-Control-Allow-Origin: *
/files/*
  Cache-Control: ${immutableCacheControl}
`

/**
 * Writes the server's responses as files. The list of models becomes the index.html of its folder.
 * @returns the names of the models
 * @throws UserError if a folder contains no model, or two folders contain the same one
 */
async function writeSite(folders: readonly string[], out: string): Promise<string[]> {
  const storage = memoryStorage()
  const registry = storeRegistry(storage, 'in memory', async () => {})
  const names: string[] = []
  const hashes = new Set<string>()
  for (const folder of folders) {
    const exported = await readExported(folder)
    const { manifest, files } = exported
    if (names.includes(manifest.name)) {
      throw new UserError(
        `Duplicate model ${manifest.name}: two of the folders contain it. Remove one of them.`,
      )
    }
    names.push(manifest.name)
    for (const { sha256 } of files) hashes.add(sha256)
    await publishModel(registry, exported)
  }

  await buildSite({ publicFolder: out, packed: true })
  const app = createApp(() => ({
    storage,
    assets: async () => new Response(null, { status: 404 }),
    publishToken: null,
    allow: async () => true,
    log: () => {},
  }))
  const write = async (path: string, to = path) => {
    const response = await app.request(path)
    if (!response.ok) throw new Error(`Unexpected status ${response.status} of ${path}.`)
    const file = join(out, to)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, new Uint8Array(await response.arrayBuffer()))
  }
  await write(`/api/models?limit=${maxModels}`, '/api/models/index.html')
  for (const name of names) await write(`/api/models/${name}`)
  for (const sha256 of hashes) await write(`/files/${sha256}`)
  await writeFile(join(out, '_headers'), headers)
  return names
}

await runCommand(command)
