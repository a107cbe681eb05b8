// The addresses at which clients of the Hugging Face hub look for a model, as far as they need them to list and
// download one: https://huggingface.co/docs/hub/api. A revision is a version or the first 40 digits of it, as long as
// a Git commit; `main` and `HEAD` are the latest.
import type { ManifestFile } from '@ddpm/shared'
import { type Context, Hono } from 'hono'
import { deliver, immutable } from '../http/deliver.ts'
import { limited } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { Problem } from '../http/problem.ts'
import { Refusal } from '../registry/errors.ts'
import { type FoundModel, findVersion } from '../registry/models.ts'
import { hasModelName } from './names.ts'

const commitLength = 40

/** How the hub's clients know what is missing. What was asked for is not in it: a header cannot hold everything. */
const missing = {
  model: { 'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found' },
  revision: { 'X-Error-Code': 'RevisionNotFound', 'X-Error-Message': 'Revision not found' },
  file: { 'X-Error-Code': 'EntryNotFound', 'X-Error-Message': 'Entry not found' },
} as const

async function find(c: Context<Env, '/:owner/:name/:revision'>): Promise<FoundModel> {
  const { owner, name, revision } = c.req.param()
  if (!hasModelName(owner, name)) {
    throw new Problem(404, `No model is named "${owner}/${name}".`, missing.model)
  }
  const reference = revision === 'main' || revision === 'HEAD' ? 'latest' : revision
  try {
    return await findVersion(c.var.host.storage, `${owner}/${name}`, reference)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new Problem(404, error.message, missing[error.reason === 'unknown version' ? 'revision' : 'model'])
  }
}

/** What a version holds for a hub's client: the manifest's files, and the manifest itself. */
function filesOf({ version, manifest, text }: FoundModel): Pick<ManifestFile, 'path' | 'sha256' | 'bytes'>[] {
  const own = { path: 'manifest.json', sha256: version, bytes: new TextEncoder().encode(text).length }
  return [...manifest.files, own]
}

const published = ({ record, version }: FoundModel) =>
  record.versions.find((each) => each.version === version)!.published

function entriesOf(found: FoundModel) {
  const commit = { id: found.version.slice(0, commitLength), title: 'published', date: published(found) }
  return filesOf(found).map(({ path, sha256, bytes }) => ({
    type: 'file',
    path,
    size: bytes,
    oid: sha256.slice(0, commitLength),
    lfs: { oid: sha256, size: bytes, pointerSize: 134 },
    lastCommit: commit,
  }))
}

const noStore = { 'Cache-Control': 'no-store' }

/** `/:owner/:name/resolve/:revision/:path`, and what the hub's API says of a revision. */
export const hub = new Hono<Env>()
  .get('/:owner/:name/resolve/:revision/:path', limited('read'), async (c) => {
    const found = await find(c)
    const path = c.req.param('path')
    const file = filesOf(found).find((each) => each.path === path)
    if (file === undefined) {
      const detail = `${found.record.name} has no file "${path}"; it has: ${filesOf(found)
        .map(({ path }) => path)
        .join(', ')}.`
      throw new Problem(404, detail, missing.file)
    }
    return await deliver(c, file.sha256, {
      'X-Repo-Commit': found.version.slice(0, commitLength),
      'X-Linked-Size': String(file.bytes),
      'X-Linked-ETag': `"${file.sha256}"`,
      'Content-Disposition': `inline; filename="${path}"`,
      // An alias moves on; a version does not.
      'Cache-Control': found.version.startsWith(c.req.param('revision')) ? immutable : 'no-cache',
    })
  })
  .get('/api/models/:owner/:name/revision/:revision', limited('read'), async (c) => {
    const found = await find(c)
    const { name, versions } = found.record
    const info = {
      _id: found.version.slice(0, 24),
      id: name,
      sha: found.version.slice(0, commitLength),
      private: false,
      gated: false,
      downloads: 0,
      likes: 0,
      pipeline_tag: 'unconditional-image-generation',
      createdAt: versions[0]!.published,
      lastModified: published(found),
      siblings: filesOf(found).map(({ path }) => ({ rfilename: path })),
    }
    return c.json(info, 200, noStore)
  })
  .get('/api/models/:owner/:name/tree/:revision', limited('read'), async (c) =>
    c.json(entriesOf(await find(c)), 200, noStore),
  )
  .post('/api/models/:owner/:name/paths-info/:revision', limited('read'), async (c) => {
    const { paths } = (await c.req.json().catch(() => ({}))) as { paths?: unknown }
    if (!Array.isArray(paths)) throw new Problem(422, 'Expected JSON with a list "paths".')
    const entries = entriesOf(await find(c))
    return c.json(
      entries.filter(({ path }) => paths.includes(path)),
      200,
      noStore,
    )
  })
