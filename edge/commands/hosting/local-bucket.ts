import { accessSync, constants, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { R2Bucket } from '@cloudflare/workers-types'
import { UserError } from '@ddpm/shared'
import { r2Storage } from '../../server/storage/r2.ts'
import type { Storage } from '../../server/storage/storage.ts'
import { configPath, projectRoot, wranglerModule } from './wrangler.ts'

/** Where `wrangler dev` keeps its state. */
export const defaultPersistTo = join(projectRoot, '.wrangler/state')

/** A store with what has to be shut after its use. */
export interface Opened {
  readonly storage: Storage
  close(): Promise<void>
}

/**
 * The bucket that `serve` reads on this machine, while it runs or not.
 * @throws UserError where the folder cannot be written
 */
export async function localBucket(persistTo: string = defaultPersistTo): Promise<Opened> {
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
  return { storage: r2Storage(env.MODELS), close: dispose }
}
