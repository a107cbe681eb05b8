// A stand-in for the Hugging Face hub (https://huggingface.co/docs/hub/api): repositories in memory, with the part of
// the API that clients use to create a repository, to commit files with Git LFS, and to read them.
import { createHash } from 'node:crypto'
import { serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'

interface Commit {
  readonly id: string
  readonly title: string
  readonly files: ReadonlyMap<string, Buffer>
}

interface Repository {
  readonly isPrivate: boolean
  /** Commits by branch, oldest first. */
  readonly branches: Map<string, Commit[]>
}

export interface StandIn {
  readonly url: string
  readonly repositories: ReadonlyMap<string, Repository>
  /** Method and path of every request. */
  readonly requests: readonly string[]
  /** Address of the store of large files, which is another origin. */
  store: string
  /** Returns the files of a branch. */
  files(name: string, branch?: string): ReadonlyMap<string, Buffer>
  stop(): Promise<void>
}

/** The token that may write to the repositories of `owner`. */
export const writeToken = 'hf_write'
const owner = 'ada'

const hashOf = (algorithm: string, content: Buffer | string) =>
  createHash(algorithm).update(content).digest('hex')
/** Like the hub's default .gitattributes. */
const isLarge = (path: string) => /\.(onnx|safetensors|png)$/.test(path)

/** Headers that let pages of any origin read the responses, as the hub sends them. It does not allow preflights here. */
const shared = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers':
    'X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag',
}

/** Responds with the content, or with a part of it: `bytes=0-` or `bytes=0-9`. */
function ranged(c: Context, content: Buffer, headers: Record<string, string>): Response {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(c.req.header('Range') ?? '') ?? []
  if (first === undefined) {
    return c.body(new Uint8Array(content), 200, { ...headers, 'Content-Length': String(content.length) })
  }
  const part = content.subarray(Number(first), last ? Number(last) + 1 : content.length)
  return c.body(new Uint8Array(part), 206, {
    ...headers,
    'Content-Range': `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`,
  })
}

export async function startHub(): Promise<StandIn> {
  const repositories = new Map<string, Repository>()
  const large = new Map<string, Buffer>()
  const requests: string[] = []
  const app = new Hono()
  let url = ''
  const hub: StandIn = {
    get url() {
      return url
    },
    repositories,
    requests,
    store: '',
    files: (name, branch = 'main') => repositories.get(name)!.branches.get(branch)!.at(-1)!.files,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }

  const error = (c: Context, status: 401 | 403 | 404 | 409 | 400, code: string, message: string) =>
    c.json({ error: message }, status, { ...shared, 'X-Error-Code': code, 'X-Error-Message': message })
  const nameOf = (c: Context) => `${c.req.param('owner')}/${c.req.param('name')}`
  const mayWrite = (c: Context) => c.req.header('Authorization') === `Bearer ${writeToken}`
  const findCommit = (repository: Repository, revision: string): Commit | undefined =>
    repository.branches.get(revision)?.at(-1) ??
    [...repository.branches.values()].flat().find(({ id }) => id.startsWith(revision))
  const createCommit = (
    title: string,
    files: ReadonlyMap<string, Buffer>,
    before: readonly Commit[],
  ): Commit => ({
    id: hashOf('sha1', JSON.stringify([title, [...files.keys()], before.length])),
    title,
    files,
  })
  const entry = (path: string, content: Buffer) => ({
    type: 'file',
    path,
    size: content.length,
    oid: hashOf('sha1', content),
    ...(isLarge(path) && {
      lfs: { oid: hashOf('sha256', content), size: content.length, pointerSize: 134 },
    }),
  })

  app.use(async (c, next) => {
    requests.push(`${c.req.method} ${c.req.path}`)
    await next()
  })
  // Everything that changes a repository requires the token of its owner.
  app.on(['POST', 'PUT'], '*', async (c, next) => {
    const path = c.req.path
    if (path.startsWith('/storage/') || path.includes('/paths-info/')) return next()
    if (!c.req.header('Authorization')) return error(c, 401, '', 'Invalid username or password.')
    if (!mayWrite(c)) return error(c, 401, '', 'Invalid credentials in Authorization header')
    if (path !== '/api/repos/create' && !path.includes(`/${owner}/`)) {
      return error(c, 403, '', 'You have read access but not the required permissions for this operation')
    }
    return next()
  })
  app.post('/api/repos/create', async (c) => {
    const { name, organization, type, visibility } = await c.req.json()
    if (type !== 'model') return error(c, 400, '', 'Invalid type')
    if (organization !== owner) return error(c, 403, '', "You don't have the rights to create a model here")
    const id = `${organization}/${name}`
    if (repositories.has(id)) return error(c, 409, '', 'You already created this model repo')
    const files = new Map([['.gitattributes', Buffer.from('*.onnx filter=lfs diff=lfs merge=lfs -text\n')]])
    const branches = new Map([['main', [createCommit('initial commit', files, [])]]])
    repositories.set(id, { isPrivate: visibility === 'private', branches })
    return c.json({ url: `${url}/${id}`, name: id, id })
  })

  app.post('/:owner/:repository{.+\\.git}/info/lfs/objects/batch', async (c) => {
    const { objects } = (await c.req.json()) as { objects: { oid: string; size: number }[] }
    const answers = objects.map(({ oid, size }) => ({
      oid,
      size,
      ...(!large.has(oid) && { actions: { upload: { href: `${url}/storage/${oid}` } } }),
    }))
    return c.json({ transfer: 'basic', objects: answers })
  })
  app.put('/storage/:oid', async (c) => {
    const content = Buffer.from(await c.req.arrayBuffer())
    if (hashOf('sha256', content) !== c.req.param('oid')) return c.text('wrong content', 400)
    large.set(c.req.param('oid'), content)
    return c.body(null, 200)
  })
  // The store of large files is another origin, which knows nothing of the hub's entity tags.
  app.get('/storage/:oid', (c) => {
    const content = large.get(c.req.param('oid'))
    if (content === undefined) return c.text('unknown', 404)
    return ranged(c, content, { ...shared, ETag: '"of-the-store"' })
  })

  /** Finds the repository and the commit of a request, or responds with the hub's error. */
  const withCommit =
    (respond: (c: Context, commit: Commit, repository: Repository) => Response | Promise<Response>) =>
    (c: Context) => {
      const repository = repositories.get(nameOf(c))
      if (!repository || (repository.isPrivate && !mayWrite(c))) {
        return error(c, repository ? 401 : 404, 'RepoNotFound', 'Repository not found')
      }
      const revision = c.req.param('revision') ?? 'main'
      const commit = findCommit(repository, decodeURIComponent(revision))
      if (commit === undefined) return error(c, 404, 'RevisionNotFound', 'Invalid rev id')
      return respond(c, commit, repository)
    }

  const model = '/api/models/:owner/:name'
  const info = withCommit((c, { id, files }, { isPrivate }) => {
    const siblings = [...files.keys()].map((rfilename) => ({ rfilename }))
    return c.json({ _id: id.slice(0, 24), id: nameOf(c), sha: id, private: isPrivate, siblings }, 200, shared)
  })
  app.get(model, info)
  app.get(`${model}/revision/:revision`, info)
  app.get(
    `${model}/tree/:revision`,
    withCommit((c, { files }) => c.json([...files].map(([path, content]) => entry(path, content)))),
  )
  app.post(
    `${model}/branch/:branch`,
    withCommit((c, _, { branches }) => {
      const branch = c.req.param('branch')!
      if (!branches.has(branch)) branches.set(branch, [...branches.get('main')!])
      return c.json({})
    }),
  )
  app.post(
    `${model}/preupload/:revision`,
    withCommit(async (c) => {
      const { files } = (await c.req.json()) as { files: { path: string; size: number; sample: string }[] }
      const modes = files.map(({ path }) => ({ path, uploadMode: isLarge(path) ? 'lfs' : 'regular' }))
      return c.json({ files: modes })
    }),
  )
  app.post(
    `${model}/commit/:revision`,
    withCommit(async (c, { files: before }, { branches }) => {
      const files = new Map(before)
      let title = ''
      for (const line of (await c.req.text()).split('\n')) {
        const { key, value } = JSON.parse(line)
        if (key === 'header') title = value.summary
        if (key === 'file') files.set(value.path, Buffer.from(value.content, value.encoding))
        if (key === 'deletedFile') {
          if (!files.delete(value.path)) return error(c, 404, 'EntryNotFound', `No file ${value.path}`)
        }
        if (key === 'lfsFile') {
          const content = large.get(value.oid)
          if (content?.length !== value.size) return error(c, 400, '', `LFS object ${value.oid} is missing`)
          files.set(value.path, content!)
        }
      }
      const branch = branches.get(decodeURIComponent(c.req.param('revision')!))!
      branch.push(createCommit(title, files, branch))
      const { id } = branch.at(-1)!
      return c.json({ success: true, commitOid: id, commitUrl: `${url}/${nameOf(c)}/commit/${id}` })
    }),
  )

  app.get(
    '/:owner/:name/resolve/:revision/:path{.+}',
    withCommit((c, { id, files }) => {
      const path = c.req.param('path')!
      const content = files.get(path)
      const headers = { ...shared, 'X-Repo-Commit': id }
      if (content === undefined) return error(c, 404, 'EntryNotFound', 'Entry not found')
      if (isLarge(path)) {
        const sha256 = hashOf('sha256', content)
        return c.body(null, 302, {
          ...headers,
          'X-Linked-Size': String(content.length),
          'X-Linked-ETag': `"${sha256}"`,
          Location: `${hub.store}/storage/${sha256}`,
        })
      }
      return ranged(c, content, { ...headers, ETag: `"${hashOf('sha1', content)}"` })
    }),
  )

  const server = await new Promise<ReturnType<typeof serve>>((resolve) => {
    const started = serve({ fetch: app.fetch, port: 0 }, ({ port }) => {
      url = `http://127.0.0.1:${port}`
      hub.store = `http://localhost:${port}`
      resolve(started)
    })
  })
  return hub
}
