import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import { buildClient } from '../build/site.ts'
import { cloudflareTarget, type Environment, ensureBucket, environments } from './hosting/cloudflare.ts'
import { sendRuntime } from './hosting/runtime-files.ts'
import { wranglerOrFail } from './hosting/wrangler.ts'
import { knownDeployment, rememberDeployment } from './publishing/target.ts'

const command = new Command('npm run deploy --')
  .description('Puts the Worker, the page and their bucket on Cloudflare, as wrangler.toml describes them.')
  .addOption(new Option('--env <name>', 'which environment').choices(environments).default('production'))
  .option('--dry-run', 'build and check everything, send nothing; needs no account')
  .addHelpText(
    'after',
    `
Before the first time: npx wrangler login
Afterwards:            npm run publish -- FOLDER --remote

It creates what is missing: the bucket, onnxruntime's files in it, the Worker, and the token by which --remote
publishes, which it keeps in .wrangler/deployments.json and nowhere else.

Examples:
  npm run deploy -- --dry-run
  npm run deploy -- --env staging
  npm run deploy`,
  )
  .action(async ({ env, dryRun }: { env: Environment; dryRun?: true }) => {
    const { runtimeFiles } = await buildClient()
    if (dryRun) {
      const { stdout } = await wranglerOrFail(['deploy', '--dry-run', '--env', env])
      console.log(stdout.trim())
      return
    }
    const bucket = await ensureBucket(env)
    console.log(`Bucket ${bucket.name}: ${bucket.created ? 'created' : 'was there'}.`)
    // Before the page that asks for them.
    const sent = await sendRuntime(await cloudflareTarget(env), runtimeFiles)
    console.log(`Files of onnxruntime: ${sent === 0 ? 'were there' : `sent ${sent}, each also compressed`}.`)

    const known = await knownDeployment(env)
    const token = known?.token ?? randomBytes(32).toString('base64url')
    const url = await deployWorker(env, known === null ? token : null)
    if (url === null) {
      console.log(
        'Worker: sent. It has no workers.dev address, so that --remote cannot reach it; publish with --to.',
      )
      return
    }
    if (known === null || known.url !== url) await rememberDeployment(env, { url, token })
    console.log(`Worker: at ${url}. Token for publishing: ${known === null ? 'created' : 'as before'}.`)
  })

/**
 * Sends Worker and page; a token that is not null becomes the Worker's secret in the same step.
 * @returns the Worker's address, null where wrangler names none
 */
async function deployWorker(env: Environment, token: string | null): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-deploy-'))
  try {
    const secrets = join(folder, 'secrets.json')
    await writeFile(secrets, JSON.stringify({ PUBLISH_TOKEN: token }), { mode: 0o600 })
    const { stdout } = await wranglerOrFail([
      'deploy',
      '--env',
      env,
      ...(token === null ? [] : ['--secrets-file', secrets]),
    ])
    return /https:\/\/\S+/.exec(stdout)?.[0] ?? null
  } finally {
    await rm(folder, { recursive: true })
  }
}

await runCommand(command)
