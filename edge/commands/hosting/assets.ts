// Static assets of the Node host, like Cloudflare's: compressed, revalidated on every use, folders with a trailing slash.
// Each file is read, hashed and compressed once, and again after it has changed on disk.
import { createHash } from 'node:crypto'
import { existsSync, type Stats, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { COMPRESSIBLE_CONTENT_TYPE_REGEX } from 'hono/utils/compress'
import { getMimeType } from 'hono/utils/mime'
import { listsTag } from '../../server/http/conditions.ts'
import { chooseCoding } from '../../server/http/negotiation.ts'
import type { Coding } from '../../server/registry/keys.ts'

interface Asset {
  readonly mediaType: string
  /** Entity tag without W/. All codings have the same one, so it is sent as a weak tag. */
  readonly tag: string
  readonly content: Buffer
  /** Compressed content, created at the first request for each coding. */
  readonly compressed: Map<Coding, Promise<Buffer>>
}

/** Serves the files of a folder. Paths must have no empty, hidden or encoded segments. */
export function folderAssets(root: string): (request: Request) => Promise<Response> {
  // Promises, so that simultaneous first requests for a file share the work.
  const assets = new Map<string, { readonly version: string; readonly asset: Promise<Asset> }>()
  return async (request) => {
    const { pathname, search } = new URL(request.url)
    // Without the slash, the relative links of the page would not resolve.
    if (!pathname.endsWith('/') && existsSync(join(root, pathname, 'index.html'))) {
      return new Response(null, { status: 307, headers: { Location: `${pathname}/${search}` } })
    }
    const path = join(root, pathname.endsWith('/') ? `${pathname}index.html` : pathname)
    const stats = statFile(path)
    if (stats === null) return new Response(null, { status: 404 })
    const version = `${stats.ino}-${stats.mtimeMs}-${stats.size}`
    let entry = assets.get(path)
    if (entry?.version !== version) {
      entry = { version, asset: load(path) }
      assets.set(path, entry)
    }
    return await respond(request, await entry.asset)
  }
}

/** Returns the properties of a file; null if there is none, also if its name is longer than the system allows. */
function statFile(path: string): Stats | null {
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    return stats?.isFile() ? stats : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENAMETOOLONG') return null
    throw error
  }
}

async function load(path: string): Promise<Asset> {
  const content = await readFile(path)
  const tag = `"${createHash('sha256').update(content).digest('hex')}"`
  const mediaType = getMimeType(path) ?? 'application/octet-stream'
  return { mediaType, tag, content, compressed: new Map() }
}

async function respond({ headers: requested }: Request, asset: Asset): Promise<Response> {
  const { mediaType, tag } = asset
  const headers = new Headers({
    ETag: `W/${tag}`,
    'Cache-Control': 'public, max-age=0, must-revalidate',
    Vary: 'Accept-Encoding',
  })
  if (listsTag(requested.get('If-None-Match') ?? '', tag, 'weak')) {
    return new Response(null, { status: 304, headers })
  }
  const isCompressible = COMPRESSIBLE_CONTENT_TYPE_REGEX.test(mediaType)
  const coding = isCompressible ? chooseCoding(requested.get('Accept-Encoding') ?? undefined) : null
  const body = coding === null ? asset.content : await compress(asset, coding)
  headers.set('Content-Type', mediaType)
  headers.set('Content-Length', String(body.length))
  if (coding !== null) headers.set('Content-Encoding', coding)
  return new Response(new Uint8Array(body), { headers })
}

const compressors = {
  // The default quality, 11, takes seconds for a megabyte.
  br: (content: Buffer) =>
    promisify(brotliCompress)(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }),
  gzip: (content: Buffer) => promisify(gzip)(content, { level: 9 }),
}

function compress({ content, compressed }: Asset, coding: Coding): Promise<Buffer> {
  const known = compressed.get(coding)
  if (known !== undefined) return known
  const result = compressors[coding](content)
  compressed.set(coding, result)
  return result
}
