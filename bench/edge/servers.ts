// The servers that bench:edge compares: the app on workerd, the app on Node, and nginx.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { formatManifest, UserError } from '@ddpm/shared'
import { openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { findFreePort, serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { begin, commit } from '../../edge/server/registry/publishing.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { createManifest } from '../../test/support/exported.ts'
import { writeIndex } from './many-models.ts'

/** A server to measure. */
export interface Contender {
  readonly name: string
  readonly url: string
  /** Process whose processor time and memory are measured; null if it is unknown. */
  readonly pid: number | null
  /** Whether this is the app, which has an API. */
  readonly servesModels: boolean
  /** Path of the manifest on this server. */
  readonly manifestPath: string
  stop(): Promise<void>
}

/** The published model file. */
export interface Published {
  readonly path: string
  readonly etag: string
}

/** Publishes a model to a storage. */
async function publish(storage: Storage, content: Buffer, text: string, name: string): Promise<void> {
  const sha256 = createHash('sha256').update(content).digest('hex')
  await storage.put(keys.file(sha256), content, { mediaType: 'application/octet-stream', sha256 })
  const { version } = await begin(storage, text)
  await commit(storage, name, version, [])
}

/** Starts the three servers, each with the same published model. */
export async function startContenders(
  folder: string,
  modelBytes: number,
  models: number,
): Promise<{ all: Contender[]; file: Published }> {
  const content = randomBytes(modelBytes)
  const sha256 = createHash('sha256').update(content).digest('hex')
  const graph = { role: 'graph', path: 'model.onnx', mediaType: 'application/octet-stream' } as const
  const manifest = createManifest('ada/shapes', [{ ...graph, bytes: modelBytes, sha256 }])
  const text = formatManifest(manifest)
  const publicFolder = join(folder, 'public')
  await mkdir(publicFolder)
  await writeFile(join(publicFolder, 'index.html'), '<!doctype html>')

  const storage = folderStorage(join(folder, 'store'))
  await publish(storage, content, text, manifest.name)
  await writeIndex(storage, models)
  const persistTo = join(folder, 'state')
  const onWorkerd = await serveOnWorkerd({ port: 0, persistTo, publicFolder, quiet: true })
  const bucket = await openLocalBucket(persistTo)
  await publish(bucket.storage, content, text, manifest.name)
  await writeIndex(bucket.storage, models)
  await bucket.close()
  const nginx = await startNginx(folder, text)
  const etag = `"${sha256}"`
  return {
    all: [
      {
        ...registry,
        name: 'workerd, R2 in miniflare',
        ...onWorkerd,
        pid: newestChild(process.pid, 'workerd'),
      },
      await startNode(join(folder, 'store'), publicFolder),
      nginx,
    ],
    file: { path: `/${keys.file(sha256)}`, etag },
  }
}

/** Path of the manifest in the app. */
const registry = { manifestPath: '/api/models/ada/shapes', servesModels: true }

async function startNode(store: string, publicFolder: string): Promise<Contender> {
  const script = fileURLToPath(new URL('node-host.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, store, publicFolder],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const ended = once(child, 'close')
  const started = once(child.stdout, 'data')
  const [url] = await Promise.race([started, ended.then(() => [''])])
  if (!url) throw new UserError('Cannot start the server on Node: see its output above.')
  const stop = async () => {
    child.kill()
    await ended
  }
  return { ...registry, name: 'Node, folder', url: String(url).trim(), pid: child.pid!, stop }
}

/** Returns the newest child of a process with this name. */
function newestChild(parent: number, name: string): number | null {
  const { stdout } = spawnSync('pgrep', ['-n', '-P', String(parent), name], { encoding: 'utf8' })
  return Number(stdout.trim()) || null
}

/** Starts nginx for the files of the folder storage. It has one worker process, like the other servers. */
async function startNginx(folder: string, manifest: string): Promise<Contender> {
  const port = await findFreePort(0, 'localhost')
  const root = join(folder, 'store')
  await mkdir(join(root, 'static'), { recursive: true })
  await writeFile(join(root, 'static/manifest.json'), manifest)
  for (const path of [folder, root, join(root, 'static'), join(root, 'files')]) await chmod(path, 0o755)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/t;`,
  )
  const config = join(folder, 'nginx.conf')
  await writeFile(
    config,
    `worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log; daemon off;
    events { worker_connections 1024; }
    http { access_log off; sendfile on; tcp_nopush on; ${temporary.join(' ')}
      server { listen ${port}; root ${root}; default_type application/octet-stream; } }`,
  )
  const child: ChildProcess = spawn('nginx', ['-c', config, '-p', folder], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  child.on('error', () => {})
  await setTimeout(500)
  const stop = async () => {
    child.kill()
    await ended
  }
  return {
    name: 'nginx',
    url: `http://localhost:${port}`,
    pid: newestChild(child.pid!, 'nginx'),
    servesModels: false,
    manifestPath: '/static/manifest.json',
    stop,
  }
}
