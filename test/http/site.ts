import { createHash, randomBytes } from 'node:crypto'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { formatManifest, type Manifest } from '@ddpm/shared'
import { keys } from '../../edge/server/registry/keys.ts'
import { begin, commit } from '../../edge/server/registry/publishing.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { createManifest } from '../support/exported.ts'
import type { About, Subject } from './cases/case.ts'

/**
 * A media type that the app serves precompressed, but that wrangler's proxy does not compress itself. The proxy would
 * otherwise change the app's responses, even partial ones.
 */
const compressible = 'text/x-instructions'

export const page = '<!doctype html><title>page</title>'
export const notFoundPage = '<!doctype html><title>not found</title>'

/** The published model, and the resources that the cases request. */
export interface Site {
  readonly manifest: Manifest
  readonly version: string
  readonly subjects: { readonly [A in About]: { readonly subject: Subject; readonly content: Buffer } }
}

const sha256Of = (content: Buffer) => createHash('sha256').update(content).digest('hex')

/** Fills an empty store with a model, and with files that are compressible. */
export async function fill(storage: Storage): Promise<Site> {
  const model = randomBytes(10_000)
  const code = Buffer.from(Array.from({ length: 3000 }, (_, i) => `instruction ${i % 50}\n`).join(''))
  const script = Buffer.from('export {}\n'.repeat(2000))
  const octets = 'application/octet-stream' as const
  await put(model, octets)
  await put(code, compressible)
  await put(script, 'text/x-uncompressed')
  const wasm = Buffer.from('\0asm'.repeat(2000))
  await put(wasm, 'application/wasm')
  await put(Buffer.alloc(0), octets)
  const sha256 = sha256Of(code)
  await storage.put(keys.variant(sha256, 'br'), brotliCompressSync(code), { mediaType: compressible })
  await storage.put(keys.variant(sha256, 'gzip'), gzipSync(code), { mediaType: compressible })

  const manifest = createManifest('ada/shapes', [
    { role: 'graph', path: 'model.onnx', mediaType: octets, bytes: model.length, sha256: sha256Of(model) },
  ])
  const text = formatManifest(manifest)
  const { version } = await begin(storage, text)
  await commit(storage, manifest.name, version, ['stable'])

  const subject = async (content: Buffer, path: string, etag = `"${sha256Of(content)}"`) => {
    const modified = (await storage.head(keys.file(sha256Of(content))))?.modified.getTime() ?? 0
    const date = (seconds = 0) => new Date(modified + seconds * 1000).toUTCString()
    return { subject: { path, size: content.length, etag, date }, content }
  }
  const file = (content: Buffer) => subject(content, `/files/${sha256Of(content)}`)
  const stored = Buffer.from(text)
  const nothing = Buffer.alloc(0)
  return {
    manifest,
    version,
    subjects: {
      model: await file(model),
      code: await file(code),
      empty: await file(Buffer.alloc(0)),
      script: await file(script),
      wasm: await file(wasm),
      version: await subject(model, `/ada/shapes/resolve/${version}/model.onnx`),
      alias: await subject(model, '/ada/shapes/resolve/main/model.onnx'),
      manifest: await subject(stored, '/api/models/ada/shapes', `"${version}"`),
      list: await subject(nothing, '/api/models'),
      page: await subject(Buffer.from(page), '/'),
      nothing: await subject(nothing, `/files/${'0'.repeat(64)}`),
      health: await subject(nothing, '/healthz'),
      description: await subject(nothing, '/api/openapi.json'),
      collection: await subject(nothing, '/api/collection'),
      nowhere: await subject(nothing, '/api/nowhere'),
      hidden: await subject(nothing, '/.env'),
      revision: await subject(nothing, '/ada/shapes/resolve/%E2%82%AC%0D%0ASet-Cookie:x/model.onnx'),
      dots: await subject(nothing, '/api/models/a..b/c'),
      dotsFile: await subject(nothing, '/a..b/c/resolve/main/model.onnx'),
      after: await subject(nothing, '/api/models?after=ada/%E2%82%AC'),
    },
  }

  async function put(content: Buffer, mediaType: string): Promise<void> {
    const sha256 = sha256Of(content)
    await storage.put(keys.file(sha256), content, { mediaType, sha256 })
  }
}
