// Deployments of this checkout, in .wrangler/deployments.json: `npm run deploy` writes them, `publish --remote` reads
// them. The file contains the publish tokens, so only the current user may read it.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { Environment } from './cloudflare.ts'
import { projectRoot } from './wrangler.ts'

/** A Worker and its publish token. */
export interface Deployment {
  /** Null if wrangler reported no address, or if the first deployment did not finish. */
  readonly url: string | null
  readonly token: string
}

type Deployments = Partial<{ readonly [E in Environment]: Deployment }>

/** Returns the deployment of an environment, or null if it was not deployed from this checkout. */
export async function readDeployment(environment: Environment): Promise<Deployment | null> {
  return (await readAll())[environment] ?? null
}

/** Saves a deployment. */
export async function writeDeployment(environment: Environment, deployment: Deployment): Promise<void> {
  const all = { ...(await readAll()), [environment]: deployment }
  await mkdir(dirname(path()), { recursive: true })
  await writeFile(path(), `${JSON.stringify(all, null, 2)}\n`, { mode: 0o600 })
}

/** @throws UserError if the file is not JSON: replacing it would lose the tokens */
async function readAll(): Promise<Deployments> {
  const text = await readFile(path(), 'utf8').catch(() => '{}')
  try {
    return JSON.parse(text) as Deployments
  } catch (error) {
    throw new UserError(
      `Cannot read ${path()}: expected JSON (${(error as Error).message}). Repair it, or remove it and run ` +
        '"npm run deploy -- --new-token".',
    )
  }
}

/** DDPM_DEPLOYMENTS overrides the path, for tests. */
function path(): string {
  return process.env['DDPM_DEPLOYMENTS'] ?? join(projectRoot, '.wrangler/deployments.json')
}
