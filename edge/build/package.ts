import { execFile } from 'node:child_process'
import { cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { bundle, bundleSampler, bundleWorkers, samplerFolder, writeInto } from './bundle.ts'
import { emitTypes } from './types.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Entry points: name in `exports` → name of the source file, and of the bundle. */
const entries = {
  '.': { source: 'browser', bundle: 'sampler' },
  './element': { source: 'element', bundle: 'diffusion-canvas' },
  './node': { source: 'node', bundle: 'node' },
}

/**
 * Builds the npm package of the sampler into a folder, ready for `npm pack`: the module with its workers, element and
 * onnxruntime's WebAssembly, the entry point for Node, the types, the documents and the examples. It has no dependencies.
 * @param repository address of the source code. Default: the git remote "origin", if there is one.
 */
export async function buildPackage(folder: string, repository?: string): Promise<void> {
  const write = writeInto(folder)
  await bundleSampler(write)
  await bundleWorkers(write, 'package')
  await bundle(write, {
    entryPoints: { node: join(samplerFolder, 'node.ts') },
    platform: 'node',
    define: { BUNDLED: 'true' },
  })
  await emitTypes(
    folder,
    Object.values(entries).map(({ source }) => source),
  )
  const { dependencies, private: _, ...source } = JSON.parse(await read(join(samplerFolder, 'package.json')))
  const address = repository ?? (await originAddress())
  const packageJson = {
    ...source,
    ...(address && {
      repository: { type: 'git', url: gitUrl(address), directory: 'edge/sampler' },
    }),
    exports: Object.fromEntries([
      ...Object.entries(entries).map(([name, { source, bundle }]) => [
        name,
        { types: `./types/edge/sampler/${source}.d.ts`, default: `./${bundle}.js` },
      ]),
      ['./package.json', './package.json'],
    ]),
    sideEffects: ['./diffusion-canvas.js'],
  }
  await write('package.json', Buffer.from(`${JSON.stringify(packageJson, null, 2)}\n`))
  for (const name of ['README.md', 'THIRD-PARTY-NOTICES.md']) {
    await write(name, await readFile(join(samplerFolder, name)))
  }
  await write('LICENSE', await readFile(join(root, 'LICENSE')))
  await cp(join(samplerFolder, 'examples'), join(folder, 'examples'), { recursive: true })
}

const read = (path: string) => readFile(path, 'utf8')

async function originAddress(): Promise<string | undefined> {
  const options = { cwd: root }
  const result = promisify(execFile)('git', ['remote', 'get-url', 'origin'], options)
  return result.then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  )
}

/** Returns an address in the form that npm compares with the repository of a provenance statement. */
function gitUrl(address: string): string {
  const https = address.replace(/^git@([^:]+):/, 'https://$1/').replace(/^git\+/, '')
  return `git+${https.replace(/(\.git)?\/?$/, '.git')}`
}
