// Removing a model from a Worker with Cloudflare's cache in front of it.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Manifest } from '@ddpm/shared'
import { command } from '../support/command.ts'
import { type EdgeCache, startEdgeCache } from '../support/edge-cache.ts'
import { writeExported } from '../support/exported.ts'
import { request } from './hosts.ts'

const publishToken = 'the correct publish token'
let folder: string
let cache: EdgeCache
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-takedown-'))
  cache = await startEdgeCache(join(folder, 'state'), publishToken)
})
after(async () => {
  await cache?.close()
  await rm(folder, { recursive: true, force: true })
})

const publish = (...args: string[]) =>
  command(['publish', ...args, '--to', cache.url], { DDPM_PUBLISH_TOKEN: publishToken })
const get = (path: string) => request(cache.url, path)
/** Requests a path and returns the status of the response and of the cache. */
const seen = async (path: string) => {
  const { status, headers } = await get(path)
  return `${status} ${headers['cf-cache-status']}`
}

/** Publishes a model and returns its addresses, which are then in the cache. */
async function publishCached(name: string): Promise<{ files: string[]; version: string; resolved: string }> {
  const exported = join(folder, name)
  const { manifest }: { manifest: Manifest } = await writeExported(exported, name, {
    graph: 2000,
    preview: 99,
  })
  const { status, stderr } = await publish(exported)
  assert.equal(status, 0, stderr)
  const version = (await get(`/api/models/${name}`)).headers['x-version']!
  const graph = `/files/${manifest.files[0]!.sha256}`
  const files = [graph, `${graph}?again`, `/files/${manifest.files[1]!.sha256}`, `/files/${version}`]
  const resolved = `/${name}/resolve/${version}/model.onnx`
  for (const path of [...files, resolved]) {
    assert.equal(await seen(path), '200 MISS', path)
    assert.equal(await seen(path), '200 HIT', path)
  }
  return { files, version, resolved }
}

test('after unpublish and gc, neither the server nor its cache serves the model', async () => {
  const removed = await publishCached('ada/removed')
  const stays = await publishCached('ada/stays')
  assert.match((await publish('unpublish', 'ada/removed')).stdout, /^Unpublished ada\/removed/)
  assert.equal(await seen(removed.resolved), '404 MISS', 'the address of the model')
  const gc = await publish('gc', '--keep-days', '0')
  assert.match(gc.stdout, /\nRemoved 3 files /, gc.stderr)
  for (const path of removed.files) assert.equal(await seen(path), '404 MISS', path)
  for (const path of [...stays.files, stays.resolved]) assert.equal(await seen(path), '200 HIT', path)
})

test('a purge that Cloudflare rejects is reported, and repeated by the next gc', async () => {
  const removed = await publishCached('ada/rejected')
  assert.equal((await publish('unpublish', 'ada/rejected')).status, 0)
  cache.rejections = 1000
  const rejected = await publish('gc', '--keep-days', '0')
  assert.equal(rejected.status, 1)
  assert.match(
    rejected.stderr,
    /rejected to purge its cache \(rate limit exceeded\)\. Wait a minute, then run/,
  )
  assert.equal(await seen(removed.files[0]!), '200 HIT')
  cache.rejections = 0
  assert.match((await publish('gc', '--keep-days', '0')).stdout, /^Removed 0 files/m)
  for (const path of removed.files) assert.equal(await seen(path), '404 MISS', path)
})

test('a damaged file that was repaired is no longer served from the cache', async () => {
  const { files } = await publishCached('ada/damaged')
  const [graph] = files
  const intact = (await get(graph!)).body
  await cache.storage.put(graph!.slice(1), Buffer.alloc(intact.length), { mediaType: 'image/png' })
  const other = `${graph}?other`
  assert.ok((await get(other)).body.equals(Buffer.alloc(intact.length)), 'damaged, and cached')
  assert.match((await publish(join(folder, 'ada/damaged'), '--repair')).stdout, /^Repaired 1 file /m)
  for (const path of [graph!, other]) assert.ok((await get(path)).body.equals(intact), path)
})
