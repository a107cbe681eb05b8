import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { RuntimeTarget } from './runtime-files.ts'
import { configPath, wrangler, wranglerError, wranglerOrFail } from './wrangler.ts'

/** Deployments that `wrangler.toml` configures: the top level, and the environment "staging". */
export const environments = ['production', 'staging'] as const
export type Environment = (typeof environments)[number]

/** Returns wrangler's option for an environment. The top level has the empty name. */
export function environmentOption(environment: Environment): string {
  return environment === 'production' ? '--env=' : `--env=${environment}`
}

/** Opens the bucket of an environment on the user's Cloudflare account, through wrangler's command line. */
export async function cloudflareTarget(environment: Environment): Promise<RuntimeTarget> {
  const name = await bucketName(environment)
  return {
    async read(key) {
      const args = ['r2', 'object', 'get', `${name}/${key}`, '--remote', '--pipe']
      const outcome = await wrangler(args)
      if (outcome.status === 0) return outcome.stdout
      if (/key does not exist/i.test(outcome.stderr)) return null
      throw wranglerError(args, outcome)
    },
    async write(objects) {
      const folder = await mkdtemp(join(tmpdir(), 'ddpm-send-'))
      try {
        for (const mediaType of new Set(objects.map((object) => object.mediaType))) {
          const entries = []
          for (const { key, content } of objects.filter((object) => object.mediaType === mediaType)) {
            const file = join(folder, key.replaceAll('/', '-'))
            await writeFile(file, content)
            entries.push({ key, file })
          }
          const list = join(folder, 'list.json')
          await writeFile(list, JSON.stringify(entries))
          // One run per media type: starting wrangler takes seconds.
          const args = [
            'r2',
            'bulk',
            'put',
            name,
            '--remote',
            '--content-type',
            mediaType,
            '--filename',
            list,
          ]
          await wranglerOrFail(args)
        }
      } finally {
        await rm(folder, { recursive: true })
      }
    },
  }
}

/** Creates the bucket on Cloudflare if it is missing. */
export async function ensureBucket(environment: Environment): Promise<{ name: string; created: boolean }> {
  const name = await bucketName(environment)
  const args = ['r2', 'bucket', 'info', name]
  const outcome = await wrangler(args)
  if (outcome.status === 0) return { name, created: false }
  if (!/bucket does not exist|code: 10006/i.test(`${outcome.stderr}${outcome.stdout}`))
    throw wranglerError(args, outcome)
  await wranglerOrFail(['r2', 'bucket', 'create', name])
  return { name, created: true }
}

/** Returns whether the deployed Worker has a publish token. False if there is no such Worker yet. */
export async function hasPublishToken(environment: Environment): Promise<boolean> {
  const args = ['secret', 'list', environmentOption(environment)]
  const outcome = await wrangler(args)
  if (outcome.status === 0) {
    const secrets = JSON.parse(outcome.stdout) as { name: string }[]
    return secrets.some(({ name }) => name === 'PUBLISH_TOKEN')
  }
  if (/Worker "[^"]*".* not found/.test(`${outcome.stderr}${outcome.stdout}`)) return false
  throw wranglerError(args, outcome)
}

/** Reads the bucket's name from `wrangler.toml`. Wrangler's own parser takes seconds to load. */
async function bucketName(environment: Environment): Promise<string> {
  const block = environment === 'production' ? '[[r2_buckets]]' : `[[env.${environment}.r2_buckets]]`
  const text = await readFile(configPath, 'utf8')
  const name = /^\s*bucket_name\s*=\s*"([^"]+)"/m.exec(text.split(`\n${block}`)[1] ?? '')?.[1]
  if (name !== undefined) return name
  throw new UserError(
    `Missing bucket for ${environment} in ${configPath}: expected the block ${block} with a bucket_name.`,
  )
}
