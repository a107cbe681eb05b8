import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Environment, environmentOption, hasPublishToken } from './cloudflare.ts'
import { type Deployment, readDeployment, writeDeployment } from './deployments.ts'
import { readWorkerAddress } from './worker-address.ts'
import { wranglerOrFail } from './wrangler.ts'

/** A deployed Worker. */
export interface DeployedWorker {
  /** Null if wrangler reports no address that covers a whole host name. */
  readonly url: string | null
  /** What happened to the publish token, for the user. */
  readonly tokenStatus: string
}

/** Deploys Worker and page, and saves the address and the publish token for `publish --remote`. */
export async function deployWorker(env: Environment, { newToken = false } = {}): Promise<DeployedWorker> {
  const previous = await readDeployment(env)
  const { token, status } = await choosePublishToken(env, previous, newToken)
  // Saved first: if the deployment is interrupted, the next one sends the same token.
  if (token !== null) await writeDeployment(env, { url: previous?.url ?? null, token })
  const url = await runDeploy(env, token)
  if (token !== null) await writeDeployment(env, { url, token })
  return { url, tokenStatus: status }
}

/**
 * Chooses the publish token of a deployment.
 * @returns the token that the deployment sets, or null to leave the Worker's secret unchanged; and its status for the user
 */
async function choosePublishToken(
  env: Environment,
  previous: Deployment | null,
  replace: boolean,
): Promise<{ token: string | null; status: string }> {
  const createToken = () => randomBytes(32).toString('base64url')
  if (replace) return { token: createToken(), status: 'replaced' }
  if (previous !== null) return { token: previous.token, status: 'unchanged' }
  if (await hasPublishToken(env)) {
    const status = 'kept; this checkout does not have it. Publish with --to, or replace it with --new-token'
    return { token: null, status }
  }
  // Cloudflare's build machines discard the checkout, and the token with it.
  if (process.env['WORKERS_CI']) {
    return { token: null, status: 'none. Set the secret PUBLISH_TOKEN in the settings of the Worker' }
  }
  return { token: createToken(), status: 'created' }
}

/**
 * Runs `wrangler deploy`.
 * @param token becomes the Worker's secret PUBLISH_TOKEN; null leaves the secret unchanged
 * @returns the Worker's address, or null if it has none
 */
async function runDeploy(env: Environment, token: string | null): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-deploy-'))
  try {
    const secrets = join(folder, 'secrets.json')
    await writeFile(secrets, JSON.stringify({ PUBLISH_TOKEN: token }), { mode: 0o600 })
    const output = join(folder, 'output.ndjson')
    const secretsOption = token === null ? [] : ['--secrets-file', secrets]
    await wranglerOrFail(['deploy', environmentOption(env), ...secretsOption], {
      WRANGLER_OUTPUT_FILE_PATH: output,
    })
    return await readWorkerAddress(output)
  } finally {
    await rm(folder, { recursive: true })
  }
}
