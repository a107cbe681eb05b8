import { UserError } from '@ddpm/shared'
import { type Command, Option } from 'commander'
import { folderStorage } from '../../server/storage/folder.ts'
import { type Environment, environments } from '../hosting/cloudflare.ts'
import { readDeployment } from '../hosting/deployments.ts'
import { openLocalBucket } from '../hosting/local-bucket.ts'
import { type Registry, storeRegistry } from './registry.ts'
import { serverRegistry } from './server-registry.ts'

/** Options that choose the registry of a command. */
export interface TargetOptions {
  readonly remote?: true
  readonly env: Environment
  readonly to?: string
  readonly folder?: string
  readonly persistTo?: string
}

/** Adds the options that choose the registry to a command. */
export function withTarget(command: Command): Command {
  return command
    .option('--local', 'use the local bucket that npm run dev serves (default)')
    .addOption(
      new Option('--remote', 'use the Worker that npm run deploy deployed from this checkout').conflicts(
        'local',
      ),
    )
    .addOption(
      new Option('--env <name>', 'environment of the deployed Worker')
        .choices(environments)
        .default('production'),
    )
    .addOption(
      new Option(
        '--to <url>',
        'use a server (token in DDPM_PUBLISH_TOKEN), or hf:owner/name, the Hugging Face hub (token in HF_TOKEN)',
      ).conflicts(['remote', 'local']),
    )
    .addOption(
      new Option('--folder <folder>', 'use the folder that npm run serve serves').conflicts([
        'remote',
        'local',
        'to',
      ]),
    )
    .option('--persist-to <folder>', 'folder of the local bucket (default: .wrangler/state)')
}

/**
 * Opens the registry that the options choose. Default: the local bucket.
 * @throws UserError if the address or the token is missing or invalid
 */
export async function openRegistry({ remote, env, to, folder, persistTo }: TargetOptions): Promise<Registry> {
  if (folder !== undefined) return storeRegistry(folderStorage(folder), `in ${folder}`, async () => {})
  if (remote) return await deployedRegistry(env)
  if (to !== undefined) return registryAt(to)
  const { storage, close } = await openLocalBucket(persistTo)
  return storeRegistry(storage, 'locally', close)
}

async function deployedRegistry(environment: Environment): Promise<Registry> {
  const deployment = await readDeployment(environment)
  if (deployment === null) {
    throw new UserError(
      `Cannot publish with --remote: no ${environment} Worker was deployed from this checkout. Run "npm run deploy" ` +
        'first. For a Worker that was deployed elsewhere, use --to with its address and DDPM_PUBLISH_TOKEN.',
    )
  }
  const { url, token } = deployment
  if (url === null) {
    throw new UserError(
      `Cannot publish with --remote: wrangler reported no address of the ${environment} Worker. Use --to with its ` +
        'address, and set DDPM_PUBLISH_TOKEN to the token in .wrangler/deployments.json.',
    )
  }
  return { ...serverRegistry(url, token), place: `on Cloudflare (${new URL(url).host})` }
}

function registryAt(url: string): Registry {
  if (url.startsWith('hf:')) {
    throw new UserError(
      `Invalid --to "${url}": only "npm run publish -- FOLDER" supports the Hugging Face hub.`,
    )
  }
  if (!URL.canParse(url)) {
    throw new UserError(`Invalid --to "${url}": expected an address such as https://models.example.`)
  }
  const token = process.env['DDPM_PUBLISH_TOKEN']
  if (token) return serverRegistry(url, token)
  throw new UserError(
    `Missing token for ${url}: set the environment variable DDPM_PUBLISH_TOKEN to the token of that server.`,
  )
}
