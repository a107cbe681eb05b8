import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Command, Option } from 'commander'
import { folderStorage } from '../../server/storage/folder.ts'
import { type Environment, environments } from '../hosting/cloudflare.ts'
import { localBucket } from '../hosting/local-bucket.ts'
import { projectRoot } from '../hosting/wrangler.ts'
import { type Registry, storeRegistry } from './registry.ts'
import { serverRegistry } from './server-registry.ts'

/** Which registry a command is about. */
export interface TargetOptions {
  readonly remote?: true
  readonly env: Environment
  readonly to?: string
  readonly folder?: string
  readonly persistTo?: string
}

/** Adds the options that choose a registry. */
export function withTarget(command: Command): Command {
  return command
    .option('--local', "this machine's local bucket, which npm run dev serves (the default)")
    .addOption(
      new Option('--remote', 'the Worker that npm run deploy put on Cloudflare from here').conflicts('local'),
    )
    .addOption(
      new Option('--env <name>', 'which deployed Worker').choices(environments).default('production'),
    )
    .addOption(
      new Option(
        '--to <url>',
        'a server; its token in the environment variable DDPM_PUBLISH_TOKEN',
      ).conflicts(['remote', 'local']),
    )
    .addOption(
      new Option('--folder <folder>', 'the folder that npm run serve serves').conflicts([
        'remote',
        'local',
        'to',
      ]),
    )
    .option('--persist-to <folder>', 'where the local bucket is kept (default: .wrangler/state)')
}

/**
 * Opens the registry that the options choose; the local bucket where they choose none.
 * @throws UserError where it is not known how to reach it
 */
export async function openRegistry({ remote, env, to, folder, persistTo }: TargetOptions): Promise<Registry> {
  if (folder !== undefined) return storeRegistry(folderStorage(folder), `in ${folder}`, async () => {})
  if (remote) {
    const { url, token } = await deployment(env)
    return { ...serverRegistry(url, token), place: `on Cloudflare (${new URL(url).host})` }
  }
  if (to !== undefined) {
    const token = process.env['DDPM_PUBLISH_TOKEN']
    if (!URL.canParse(to))
      throw new UserError(`Found --to "${to}"; expected an address such as https://host.`)
    if (token) return serverRegistry(to, token)
    throw new UserError(
      `Publishing to ${to} needs its token: set the environment variable DDPM_PUBLISH_TOKEN.`,
    )
  }
  const { storage, close } = await localBucket(persistTo)
  return storeRegistry(storage, 'locally', close)
}

/** A Worker that `npm run deploy` made, and the token that it accepts. */
export interface Deployment {
  readonly url: string
  readonly token: string
}

const deploymentsPath = () =>
  process.env['DDPM_DEPLOYMENTS'] ?? join(projectRoot, '.wrangler/deployments.json')

type Deployments = Partial<{ readonly [E in Environment]: Deployment }>

async function deployments(): Promise<Deployments> {
  const text = await readFile(deploymentsPath(), 'utf8').catch(() => '{}')
  return JSON.parse(text) as Deployments
}

/** What is known here of an environment's deployment, or null. */
export async function knownDeployment(environment: Environment): Promise<Deployment | null> {
  return (await deployments())[environment] ?? null
}

/** Writes a deployment down for `--remote`, readable by this user alone. */
export async function rememberDeployment(environment: Environment, made: Deployment): Promise<void> {
  const all = { ...(await deployments()), [environment]: made }
  await writeFile(deploymentsPath(), `${JSON.stringify(all, null, 2)}\n`, { mode: 0o600 })
}

async function deployment(environment: Environment): Promise<Deployment> {
  const known = await knownDeployment(environment)
  if (known !== null) return known
  throw new UserError(
    `No ${environment} Worker was deployed from here. Run "npm run deploy" first; to publish to one that was deployed ` +
      'elsewhere, give its address with --to and its token in DDPM_PUBLISH_TOKEN.',
  )
}
