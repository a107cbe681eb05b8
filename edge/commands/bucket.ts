import { accessSync, constants, mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { R2Bucket } from '@cloudflare/workers-types'
import { UserError } from '@ddpm/shared'
import { configPath, failure, projectRoot, wrangler, wranglerModule, wranglerOrFail } from './wrangler.ts'

/** A file on this machine whose hash is known. */
export interface HashedFile {
  path: string
  sha256: string
  bytes: number
  mediaType: string
}

/** The bucket behind the edge, as those see it who fill it. */
export interface Bucket {
  /** A small object, or null where there is none. */
  read(key: string): Promise<string | null>
  putFile(key: string, file: HashedFile): Promise<void>
  putText(key: string, text: string): Promise<void>
  close(): Promise<void>
}

/** Where `wrangler dev` keeps its state. */
export const defaultPersistTo = join(projectRoot, '.wrangler/state')

/**
 * The bucket that `serve` reads, while it runs or not.
 * @throws UserError where the folder cannot be written
 */
export async function localBucket(persistTo: string = defaultPersistTo): Promise<Bucket> {
  const state = join(resolve(persistTo), 'v3')
  try {
    mkdirSync(state, { recursive: true })
    accessSync(state, constants.W_OK)
  } catch (error) {
    throw new UserError(
      `Cannot keep the local bucket in "${persistTo}" (${(error as Error).message}); name a folder that you may write to: --persist-to.`,
    )
  }
  // Wrangler refuses a configuration whose assets are not built yet.
  mkdirSync(join(projectRoot, 'edge/dist/public'), { recursive: true })
  const { getPlatformProxy } = await wranglerModule()
  const { env, dispose } = await getPlatformProxy<{ MODELS: R2Bucket }>({
    configPath,
    persist: { path: state },
    remoteBindings: false,
    envFiles: [],
  })
  const bucket = env.MODELS
  return {
    async read(key) {
      const object = await bucket.get(key)
      return object === null ? null : await object.text()
    },
    async putFile(key, { path, sha256, mediaType }) {
      await bucket.put(key, await readFile(path), { sha256, httpMetadata: { contentType: mediaType } })
    },
    async putText(key, text) {
      await bucket.put(key, text, { httpMetadata: { contentType: 'application/json' } })
    },
    close: dispose,
  }
}

/** What `wrangler r2 object put` takes at most. */
const remoteLimit = 300 * 2 ** 20

/** The bucket on the user's Cloudflare account, through wrangler's command line. */
export async function remoteBucket(): Promise<Bucket> {
  const name = await bucketName()
  const put = (key: string, mediaType: string) =>
    ['r2', 'object', 'put', `${name}/${key}`, '--remote', '--content-type', mediaType] as const
  return {
    async read(key) {
      const args = ['r2', 'object', 'get', `${name}/${key}`, '--remote', '--pipe']
      const outcome = await wrangler(args)
      if (outcome.status === 0) return outcome.stdout
      if (/key does not exist/i.test(outcome.stderr)) return null
      throw failure(args, outcome)
    },
    async putFile(key, { path, bytes, mediaType }) {
      if (bytes > remoteLimit) {
        throw new UserError(`${path} has ${bytes} bytes; wrangler sends at most ${remoteLimit}.`)
      }
      await wranglerOrFail([...put(key, mediaType), '--file', resolve(path)])
    },
    async putText(key, text) {
      await wranglerOrFail([...put(key, 'application/json'), '--pipe'], text)
    },
    async close() {},
  }
}

/** Creates the bucket on Cloudflare where it is missing. */
export async function ensureRemoteBucket(): Promise<'created' | 'there'> {
  const name = await bucketName()
  const args = ['r2', 'bucket', 'info', name]
  const outcome = await wrangler(args)
  if (outcome.status === 0) return 'there'
  if (!/bucket does not exist|code: 10006/i.test(`${outcome.stderr}${outcome.stdout}`))
    throw failure(args, outcome)
  await wranglerOrFail(['r2', 'bucket', 'create', name])
  return 'created'
}

/** The bucket's name, from `wrangler.toml`; wrangler's own reader takes seconds to load. */
async function bucketName(): Promise<string> {
  const name = /^bucket_name\s*=\s*"([^"]+)"/m.exec(await readFile(configPath, 'utf8'))?.[1]
  if (name === undefined)
    throw new UserError(`${configPath} names no bucket; restore its block [[r2_buckets]].`)
  return name
}
