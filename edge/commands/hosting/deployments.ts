// Deployments of this checkout, in .wrangler/deployments.json: `npm run deploy` writes them, `publish --remote` reads
// them. The file contains the publish tokens, so only the current user may read it.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from './cloudflare.ts'
import { projectRoot } from './wrangler.ts'

/** A deployed Worker and its publish token. */
export interface Deployment {
  readonly url: string
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
  await writeFile(path(), `${JSON.stringify(all, null, 2)}\n`, { mode: 0o600 })
}

async function readAll(): Promise<Deployments> {
  const text = await readFile(path(), 'utf8').catch(() => '{}')
  return JSON.parse(text) as Deployments
}

/** DDPM_DEPLOYMENTS overrides the path, for tests. */
function path(): string {
  return process.env['DDPM_DEPLOYMENTS'] ?? join(projectRoot, '.wrangler/deployments.json')
}
