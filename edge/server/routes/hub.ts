// Endpoints of the Hugging Face hub's API that its clients need to list and download one model:
// https://huggingface.co/docs/hub/api. A revision is a version, or its first 40 digits (the length of a Git commit).
// The revisions `main` and `HEAD` mean the latest version.
import type { ManifestFile } from '@ddpm/shared'
import { type Context, Hono } from 'hono'
import { deliver, immutableCacheControl } from '../http/deliver.ts'
import { rateLimited } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { Problem } from '../http/problem.ts'
import { RegistryError } from '../registry/errors.ts'
import { findVersion, type ModelVersion } from '../registry/models.ts'
import { isModelName } from './names.ts'

const noStore = { 'Cache-Control': 'no-store' }

/** `/:owner/:name/resolve/:revision/:path`, and the hub API's endpoints for one revision. */
export const hub = new Hono<Env>()
  .get('/:owner/:name/resolve/:revision/:path', rateLimited('read'), async (c) => {
    const model = await findRevision(c)
    const path = c.req.param('path')
    const files = listFiles(model)
    const file = files.find((each) => each.path === path)
    if (file === undefined) {
      const known = files.map(({ path }) => path).join(', ')
      throw new Problem(
        404,
        `Unknown file "${path}" of ${model.record.name}: expected one of ${known}.`,
        notFound.file,
      )
    }
    return await deliver(c, file.sha256, {
      'X-Repo-Commit': commitId(model),
      'X-Linked-Size': String(file.bytes),
      'X-Linked-ETag': `"${file.sha256}"`,
      'Content-Disposition': `inline; filename="${path}"`,
      // An alias can move to another version; a version never changes.
      'Cache-Control': model.version.startsWith(c.req.param('revision')) ? immutableCacheControl : 'no-cache',
    })
  })
  .get('/api/models/:owner/:name/revision/:revision', rateLimited('read'), async (c) => {
    const model = await findRevision(c)
    const { name, versions } = model.record
    const info = {
      _id: model.version.slice(0, 24),
      id: name,
      sha: commitId(model),
      private: false,
      gated: false,
      downloads: 0,
      likes: 0,
      pipeline_tag: 'unconditional-image-generation',
      createdAt: versions[0]!.published,
      lastModified: publishedAt(model),
      siblings: listFiles(model).map(({ path }) => ({ rfilename: path })),
    }
    return c.json(info, 200, noStore)
  })
  .get('/api/models/:owner/:name/tree/:revision', rateLimited('read'), async (c) =>
    c.json(listEntries(await findRevision(c)), 200, noStore),
  )
  .post('/api/models/:owner/:name/paths-info/:revision', rateLimited('read'), async (c) => {
    const { paths } = (await c.req.json().catch(() => ({}))) as { paths?: unknown }
    if (!Array.isArray(paths)) throw new Problem(422, 'Invalid body: expected JSON with a list "paths".')
    const entries = listEntries(await findRevision(c))
    return c.json(
      entries.filter(({ path }) => paths.includes(path)),
      200,
      noStore,
    )
  })

/** Error headers that the hub's clients read. Constant, because names from the URL are not safe in a header. */
const notFound = {
  model: { 'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found' },
  revision: { 'X-Error-Code': 'RevisionNotFound', 'X-Error-Message': 'Revision not found' },
  file: { 'X-Error-Code': 'EntryNotFound', 'X-Error-Message': 'Entry not found' },
} as const

async function findRevision(c: Context<Env, '/:owner/:name/:revision'>): Promise<ModelVersion> {
  const { owner, name, revision } = c.req.param()
  if (!isModelName(owner, name)) {
    throw new Problem(404, `Unknown model "${owner}/${name}".`, notFound.model)
  }
  const reference = revision === 'main' || revision === 'HEAD' ? 'latest' : revision
  try {
    return await findVersion(c.var.host.storage, `${owner}/${name}`, reference)
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const headers = notFound[error.reason === 'unknown version' ? 'revision' : 'model']
    throw new Problem(404, error.message, headers)
  }
}

/** Returns the first digits of the version, as many as a Git commit has. */
function commitId({ version }: ModelVersion): string {
  return version.slice(0, commitLength)
}

const commitLength = 40

/** Lists the files of a version for the hub's clients: the files in the manifest, then the manifest itself. */
function listFiles({
  version,
  manifest,
  text,
}: ModelVersion): Pick<ManifestFile, 'path' | 'sha256' | 'bytes'>[] {
  const manifestFile = {
    path: 'manifest.json',
    sha256: version,
    bytes: new TextEncoder().encode(text).length,
  }
  return [...manifest.files, manifestFile]
}

function publishedAt({ record, version }: ModelVersion): string {
  return record.versions.find((each) => each.version === version)!.published
}

function listEntries(model: ModelVersion) {
  const commit = { id: commitId(model), title: 'published', date: publishedAt(model) }
  return listFiles(model).map(({ path, sha256, bytes }) => ({
    type: 'file',
    path,
    size: bytes,
    oid: sha256.slice(0, commitLength),
    lfs: { oid: sha256, size: bytes, pointerSize: 134 },
    lastCommit: commit,
  }))
}
