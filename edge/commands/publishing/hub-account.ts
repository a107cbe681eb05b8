import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { publicHub } from '../../sampler/base/hub-address.ts'

/** Where to publish on a hub, and as whom. */
export interface HubAccount {
  readonly hubUrl: string
  readonly accessToken: string
}

/**
 * Reads the hub's address and the token from where the hub's own clients read them: HF_ENDPOINT, HF_TOKEN, and the file
 * that `hf auth login` writes.
 * @throws UserError if there is no token
 */
export async function readHubAccount(env: NodeJS.ProcessEnv = process.env): Promise<HubAccount> {
  const hubUrl = (env['HF_ENDPOINT'] || publicHub).replace(/\/+$/, '')
  const cache = env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const file = env['HF_TOKEN_PATH'] || join(env['HF_HOME'] || join(cache, 'huggingface'), 'token')
  const accessToken = (env['HF_TOKEN'] || (await readFile(file, 'utf8').catch(() => ''))).trim()
  if (accessToken === '') {
    throw new UserError(
      `Missing token for ${hubUrl}: set HF_TOKEN to a token with write access (${hubUrl}/settings/tokens), or run ` +
        '"hf auth login".',
    )
  }
  if (!accessToken.startsWith('hf_')) {
    throw new UserError(`Invalid token for ${hubUrl}: expected a text that starts with "hf_".`)
  }
  return { hubUrl, accessToken }
}
