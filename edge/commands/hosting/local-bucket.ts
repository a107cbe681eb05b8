import { accessSync, constants, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { R2Bucket } from '@cloudflare/workers-types'
import { UserError } from '@ddpm/shared'
import { r2Storage } from '../../server/storage/r2.ts'
import type { Storage } from '../../server/storage/storage.ts'
import { configPath, importWrangler, projectRoot } from './wrangler.ts'

/** Default folder of wrangler's local state. */
export const defaultPersistTo = join(projectRoot, '.wrangler/state')

/** A store that must be closed after use. */
export interface OpenBucket {
  readonly storage: Storage
  close(): Promise<void>
}

/**
 * Opens the local bucket that `npm run dev` serves, whether it is running or not.
 * @param persistTo folder of the bucket
 * @throws UserError if the folder is not writable
 */
export async function openLocalBucket(persistTo: string = defaultPersistTo): Promise<OpenBucket> {
  const state = join(resolve(persistTo), 'v3')
  try {
    mkdirSync(state, { recursive: true })
    accessSync(state, constants.W_OK)
  } catch (error) {
    throw new UserError(
      `Cannot write the local bucket to "${persistTo}" (${(error as Error).message}). Choose a writable folder with --persist-to.`,
    )
  }
  // Wrangler rejects a configuration whose assets folder does not exist.
  mkdirSync(join(projectRoot, 'edge/dist/public'), { recursive: true })
  const { getPlatformProxy } = await importWrangler()
  const { env, dispose } = await getPlatformProxy<{ MODELS: R2Bucket }>({
    configPath,
    environment: 'local',
    persist: { path: state },
    remoteBindings: false,
    envFiles: [],
  })
  return { storage: r2Storage(env.MODELS), close: dispose }
}
