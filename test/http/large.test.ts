// A file that one request may not hold, published by the command that its user runs, which is killed in the middle and
// started again: to each host over HTTP, and into the local bucket. 48 MB here; with more:
//   DDPM_LARGE_MEGABYTES=350 npm test -- test/http/large.test.ts
// There workerd with miniflare's bucket inside, which gives memory back late, was seen to go beyond the bound: 201 MB for
// 48 MB, 330 for 350, 552 for 800. Node with a folder, the same app, grew by 13 MB for 48 and by 73 for 350.
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
import { localBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { listAll } from '../../edge/server/storage/storage.ts'
import { writeManifest } from '../support/exported.ts'
import { startProxy } from '../support/proxy.ts'
import { hosts } from './hosts.ts'

const runner = fileURLToPath(new URL('../../run.js', import.meta.url))
const megabytes = Number(process.env['DDPM_LARGE_MEGABYTES'] ?? 48)
const bytes = megabytes * 1_000_000 + 1
const parts = Math.ceil(bytes / 2 ** 24)
const publishToken = 'a token that nobody guesses'
/** By how many MB the processes of a server may grow while a file of any size goes through them. */
const memory = 300
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
  const manifest = writeManifest('ada/large', [
    { role: 'graph', path: 'model.onnx', mediaType, bytes, sha256 },
  ])
  await writeFile(join(folder, 'manifest.json'), formatManifest(manifest))
})
after(() => rm(folder, { recursive: true, force: true }))

/** The command, in a process group of its own. */
function publish(...args: string[]): ChildProcess {
  const env = { ...process.env, DDPM_PUBLISH_TOKEN: publishToken }
  return spawn(process.execPath, [runner, 'publish', folder, ...args], { env, detached: true, stdio: 'pipe' })
}

/** Ends it and all that it started, at once. */
async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close')
  process.kill(-child.pid!, 'SIGKILL')
  await closed
}

async function succeeds(child: ChildProcess): Promise<string> {
  const said = child.stdout!.setEncoding('utf8').toArray()
  const complaints = child.stderr!.setEncoding('utf8').toArray()
  const [code] = await once(child, 'close')
  assert.equal(code, 0, (await complaints).join(''))
  return (await said).join('')
}

async function downloaded(url: string): Promise<string> {
  const hash = createHash('sha256')
  const answer = await fetch(`${url}/files/${sha256}`)
  assert.equal(answer.headers.get('Content-Length'), String(bytes))
  for await (const chunk of answer.body!) hash.update(chunk)
  return hash.digest('hex')
}

/** A count that did not change for three seconds: a part that had arrived may still be on its way to the store. */
async function settled(count: () => Promise<number>): Promise<number> {
  for (let before = await count(); ; ) {
    await setTimeout(3000)
    const now = await count()
    if (now === before) return now
    before = now
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text.trim().split(' ').filter(Boolean).map(Number)
}

/** Watches the resident memory of processes; gives by how many MB each grew at most. */
async function watchMemory(pids: readonly number[]): Promise<() => number[]> {
  const resident = async (pid: number) => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000
  }
  const start = await Promise.all(pids.map(resident))
  const most = [...start]
  const timer = setInterval(async () => {
    const now = await Promise.all(pids.map(resident))
    for (const [i, value] of now.entries()) most[i] = Math.max(most[i]!, value)
  }, 50)
  return () => {
    clearInterval(timer)
    return most.map((value, i) => Math.round(value - start[i]!))
  }
}

for (const [name, start] of Object.entries(hosts)) {
  describe(`a large file over HTTP: ${name}`, () => {
    test('killed in the middle, gone on with, whole; in little memory', { timeout }, async (t) => {
      const known = await childrenOf(process.pid)
      const host = await start({ publishToken })
      const proxy = await startProxy(host.url)
      try {
        const started = (await childrenOf(process.pid)).filter((pid) => !known.includes(pid))
        const grown = await watchMemory([process.pid, ...started])
        const first = publish('--to', proxy.url)
        const isPart = (path: string) => path.startsWith(`/files/${sha256}/parts/`)
        while (proxy.paths.filter(isPart).length < Math.ceil(parts / 2)) await setTimeout(20)
        await kill(first)
        // What the server had not yet taken whole is not there.
        const there = await settled(
          async () => (await Array.fromAsync(listAll(host.storage, keys.parts(sha256)))).length,
        )
        assert.ok(there < parts, `${there} of ${parts} parts`)
        assert.equal((await fetch(`${host.url}/files/${sha256}`)).status, 404)
        assert.equal((await fetch(`${host.url}/api/models/ada/large`)).status, 404)

        proxy.paths.length = 0
        assert.match(await succeeds(publish('--to', proxy.url)), /^Published ada\/large/)
        assert.equal(proxy.paths.filter(isPart).length, parts - there, 'what was there is not sent again')
        assert.equal(await downloaded(host.url), sha256)
        assert.deepEqual(await Array.fromAsync(listAll(host.storage, keys.uploads)), [])
        const more = grown()
        t.diagnostic(`${megabytes} MB, ${there} of ${parts} parts were there; more memory, MB: ${more}`)
        assert.ok(Math.max(...more) < memory, `${more} MB`)
      } finally {
        await proxy.close()
        await host.stop()
      }
    })
  })
}

test('a large file into the local bucket: killed in the middle, started again, whole', {
  timeout,
}, async (t) => {
  const persistTo = join(folder, 'state')
  await mkdir(persistTo)
  const first = publish('--persist-to', persistTo)
  // The bucket's files grow while parts come.
  while ((await sizeOf(persistTo)) < bytes / 2) await setTimeout(20)
  await kill(first)
  const bucket = await localBucket(persistTo)
  assert.equal(await bucket.storage.head(keys.file(sha256)), null, 'nothing of it is to be seen')
  await bucket.close()

  const second = publish('--persist-to', persistTo)
  const grown = await watchMemory([second.pid!])
  assert.match(await succeeds(second), /^Published ada\/large locally/)
  t.diagnostic(`more memory of the command, MB: ${grown()}`)
  const again = await localBucket(persistTo)
  const hash = createHash('sha256')
  for await (const chunk of (await again.storage.read(keys.file(sha256)))!.body) hash.update(chunk)
  await again.close()
  assert.equal(hash.digest('hex'), sha256)
})

/** Bytes of all files in a folder. */
async function sizeOf(place: string): Promise<number> {
  const names = await readdir(place, { recursive: true })
  const sizes = names.map(async (name) => {
    const file = await open(join(place, name)).catch(() => null)
    const { size } = (await file?.stat()) ?? { size: 0 }
    await file?.close()
    return size
  })
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
