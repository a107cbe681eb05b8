import { type Manifest, modelName, parseManifest, storageKeys } from '@ddpm/shared'
import { type Context, Hono } from 'hono'
import type { Env } from '../bindings.ts'
import { lists } from '../conditions.ts'
import { problem } from '../problem.ts'
import { r2Storage, type Storage } from '../storage.ts'

/** How many names an answer about an unknown model suggests. */
const suggestions = 5

/** `GET /api/models` and `GET /api/models/:owner/:name`. */
export const models = new Hono<Env>()
  .get('/', async (c) => {
    const manifests = await publishedManifests(r2Storage(c.env.MODELS))
    return c.json({ models: manifests.map(summary) }, 200, { 'Cache-Control': 'no-store' })
  })
  .get('/:owner/:name', async (c) => {
    const name = `${c.req.param('owner')}/${c.req.param('name')}`
    const storage = r2Storage(c.env.MODELS)
    const stored = modelName.safeParse(name).success ? await storage.text(storageKeys.manifest(name)) : null
    if (stored === null) return unknownModel(c, name, storage)
    // Weak, because a proxy may compress the text and keep the tag.
    const etag = `W/"${stored.version}"`
    const headers = { ETag: etag, 'Cache-Control': 'no-cache' }
    if (lists(c.req.header('If-None-Match') ?? '', etag, 'weak')) return c.body(null, 304, headers)
    return c.body(stored.text, 200, { ...headers, 'Content-Type': 'application/json' })
  })

/** One line of the list of models. */
export interface ModelSummary
  extends Pick<Manifest, 'name' | 'description' | 'shape' | 'classes' | 'licence' | 'training'> {
  /** SHA-256 of a grid of samples, or null where there is none. */
  preview: string | null
}

function summary(manifest: Manifest): ModelSummary {
  const { name, description, shape, classes, licence, training, files } = manifest
  const preview = files.find(({ role }) => role === 'preview')?.sha256 ?? null
  return { name, description, shape, classes, licence, training, preview }
}

/** Every manifest that this version reads, by name; one that it cannot read is logged and left out. */
async function publishedManifests(storage: Storage): Promise<Manifest[]> {
  const keys = await storage.keys(storageKeys.manifestPrefix)
  const texts = await Promise.all(keys.map((key) => storage.text(key)))
  return texts.flatMap((stored, i) => {
    if (stored === null) return []
    try {
      return [parseManifest(stored.text, keys[i]!)]
    } catch (error) {
      console.error((error as Error).message)
      return []
    }
  })
}

async function unknownModel(c: Context<Env>, name: string, storage: Storage): Promise<Response> {
  const prefix = storageKeys.manifestPrefix
  const names = (await storage.keys(prefix)).map((key) => key.slice(prefix.length, -'.json'.length))
  const more = names.length > suggestions ? ` and ${names.length - suggestions} more (GET /api/models)` : ''
  const known =
    names.length === 0
      ? 'none is published here yet; "npm run publish -- FOLDER" publishes one'
      : `published here: ${names.slice(0, suggestions).join(', ')}${more}`
  return problem(c, 404, `No model is named "${name}"; ${known}.`)
}
