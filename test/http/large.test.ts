// A file above the size limit of one request. `npm run publish` sends it to each host over HTTP, and to the local bucket.
// It is killed during the upload and started again. The file has 48 MB by default; for a larger one:
//   DDPM_LARGE_MEGABYTES=350 npm test -- test/http/large.test.ts
//
// With larger files workerd may exceed the memory limit, because miniflare's bucket releases memory late. Measured growth:
// workerd 201 MB for a file of 48 MB, 330 for 350, 552 for 800; Node with a folder 13 MB for 48 and 73 for 350.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { formatManifest } from '@ddpm/shared'
import { openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { listAll } from '../../edge/server/storage/storage.ts'
import { createManifest } from '../support/exported.ts'
import { startProxy } from '../support/proxy.ts'
import { hosts } from './hosts.ts'

const runner = fileURLToPath(new URL('../../run.js', import.meta.url))
const megabytes = Number(process.env['DDPM_LARGE_MEGABYTES'] ?? 48)
const bytes = megabytes * 1_000_000 + 1
const parts = Math.ceil(bytes / 2 ** 24)
const publishToken = 'the correct publish token'
/** Maximum growth of the resident memory of a server process, in MB, for any file size. */
const maxMemoryGrowth = 300
const timeout = 1_200_000

let folder: string
let sha256: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-large-'))
  const hash = createHash('sha256')
  const file = await open(join(folder, 'model.onnx'), 'w')
  for (let left = bytes; left > 0; left -= 2 ** 20) {
    const chunk = randomBytes(Math.min(left, 2 ** 20))
    hash.update(chunk)
    await file.write(chunk)
  }
  await file.close()
  sha256 = hash.digest('hex')
  const mediaType = 'application/octet-stream'
  const manifest = createManifest('ada/large', [
    { role: 'graph', path: 'model.onnx', mediaType, bytes, sha256 },
  ])
  await writeFile(join(folder, 'manifest.json'), formatManifest(manifest))
})
after(() => rm(folder, { recursive: true, force: true }))

/** Starts the command in a separate process group. */
function publish(...args: string[]): ChildProcess {
  const env = { ...process.env, DDPM_PUBLISH_TOKEN: publishToken }
  return spawn(process.execPath, [runner, 'publish', folder, ...args], { env, detached: true, stdio: 'pipe' })
}

/** Kills the process and all its children. */
async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close')
  process.kill(-child.pid!, 'SIGKILL')
  await closed
}

/** Waits for the process to succeed and returns its output. */
async function waitForSuccess(child: ChildProcess): Promise<string> {
  const stdout = child.stdout!.setEncoding('utf8').toArray()
  const stderr = child.stderr!.setEncoding('utf8').toArray()
  const [code] = await once(child, 'close')
  assert.equal(code, 0, (await stderr).join(''))
  return (await stdout).join('')
}

/** Downloads the file and returns its SHA-256. */
async function downloadHash(url: string): Promise<string> {
  const hash = createHash('sha256')
  const response = await fetch(`${url}/files/${sha256}`)
  assert.equal(response.headers.get('Content-Length'), String(bytes))
  for await (const chunk of response.body!) hash.update(chunk)
  return hash.digest('hex')
}

/** Waits until a count does not change for three seconds: a part that was received may not be stored yet. */
async function waitUntilStable(count: () => Promise<number>): Promise<number> {
  for (let previous = await count(); ; ) {
    await setTimeout(3000)
    const now = await count()
    if (now === previous) return now
    previous = now
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text.trim().split(' ').filter(Boolean).map(Number)
}

/** Polls the resident memory of processes. The returned function stops and returns the maximum growth of each in MB. */
async function watchMemory(pids: readonly number[]): Promise<() => number[]> {
  const resident = async (pid: number) => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000
  }
  const start = await Promise.all(pids.map(resident))
  const peak = [...start]
  const timer = setInterval(async () => {
    const now = await Promise.all(pids.map(resident))
    for (const [i, value] of now.entries()) peak[i] = Math.max(peak[i]!, value)
  }, 50)
  return () => {
    clearInterval(timer)
    return peak.map((value, i) => Math.round(value - start[i]!))
  }
}

for (const [name, start] of Object.entries(hosts)) {
  describe(`a large file over HTTP: ${name}`, () => {
    test('an interrupted publication resumes and completes, in little memory', { timeout }, async (t) => {
      const known = await childrenOf(process.pid)
      const host = await start({ publishToken })
      const proxy = await startProxy(host.url)
      try {
        const started = (await childrenOf(process.pid)).filter((pid) => !known.includes(pid))
        const memoryGrowth = await watchMemory([process.pid, ...started])
        const first = publish('--to', proxy.url)
        const isPart = (path: string) => path.startsWith(`/files/${sha256}/parts/`)
        while (proxy.paths.filter(isPart).length < Math.ceil(parts / 2)) await setTimeout(20)
        await kill(first)
        // Parts that were not received completely are not stored.
        const stored = await waitUntilStable(
          async () => (await Array.fromAsync(listAll(host.storage, keys.parts(sha256)))).length,
        )
        assert.ok(stored < parts, `${stored} of ${parts} parts`)
        assert.equal((await fetch(`${host.url}/files/${sha256}`)).status, 404)
        assert.equal((await fetch(`${host.url}/api/models/ada/large`)).status, 404)

        proxy.paths.length = 0
        assert.match(await waitForSuccess(publish('--to', proxy.url)), /^Published ada\/large/)
        assert.equal(proxy.paths.filter(isPart).length, parts - stored, 'stored parts are not sent again')
        assert.equal(await downloadHash(host.url), sha256)
        assert.deepEqual(await Array.fromAsync(listAll(host.storage, keys.uploads)), [])
        const growth = memoryGrowth()
        t.diagnostic(
          `${megabytes} MB; ${stored} of ${parts} parts were stored; memory growth in MB: ${growth}`,
        )
        assert.ok(Math.max(...growth) < maxMemoryGrowth, `${growth} MB`)
      } finally {
        await proxy.close()
        await host.stop()
      }
    })
  })
}

test('a large file for the local bucket: an interrupted publication resumes and completes', {
  timeout,
}, async (t) => {
  const persistTo = join(folder, 'state')
  await mkdir(persistTo)
  const first = publish('--persist-to', persistTo)
  // The files of the bucket grow while parts are written.
  while ((await sizeOf(persistTo)) < bytes / 2) await setTimeout(20)
  await kill(first)
  const bucket = await openLocalBucket(persistTo)
  assert.equal(await bucket.storage.head(keys.file(sha256)), null, 'no incomplete file is visible')
  await bucket.close()

  const second = publish('--persist-to', persistTo)
  const memoryGrowth = await watchMemory([second.pid!])
  assert.match(await waitForSuccess(second), /^Published ada\/large locally/)
  t.diagnostic(`memory growth of the command in MB: ${memoryGrowth()}`)
  const again = await openLocalBucket(persistTo)
  const hash = createHash('sha256')
  for await (const chunk of (await again.storage.read(keys.file(sha256)))!.body) hash.update(chunk)
  await again.close()
  assert.equal(hash.digest('hex'), sha256)
})

/** Returns the total size of all files in a folder, in bytes. */
async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true })
  const sizes = names.map(async (name) => {
    const file = await open(join(folder, name)).catch(() => null)
    const { size } = (await file?.stat()) ?? { size: 0 }
    await file?.close()
    return size
  })
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
