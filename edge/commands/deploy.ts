import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import { buildSite } from '../build/site.ts'
import { cloudflareTarget, type Environment, ensureBucket, environments } from './hosting/cloudflare.ts'
import { readDeployment, writeDeployment } from './hosting/deployments.ts'
import { uploadRuntimeFiles } from './hosting/runtime-files.ts'
import { wranglerOrFail } from './hosting/wrangler.ts'

const command = new Command('npm run deploy --')
  .description('Deploys the Worker, the page and their bucket to Cloudflare, as configured in wrangler.toml.')
  .addOption(new Option('--env <name>', 'environment to deploy').choices(environments).default('production'))
  .option('--dry-run', 'build and check everything without sending anything; needs no account')
  .addHelpText(
    'after',
    `
Log in before the first deployment: npx wrangler login
Publish models afterwards:          npm run publish -- FOLDER --remote

The command creates what is missing: the bucket, onnxruntime's files in it, the Worker, and the token that
"publish --remote" uses. The token is stored as the Worker's secret and in .wrangler/deployments.json.

Examples:
  npm run deploy -- --dry-run
  npm run deploy -- --env staging
  npm run deploy`,
  )
  .action(async ({ env, dryRun }: { env: Environment; dryRun?: true }) => {
    const { runtimeFiles } = await buildSite()
    if (dryRun) {
      const { stdout } = await wranglerOrFail(['deploy', '--dry-run', '--env', env])
      console.log(stdout.trim())
      return
    }
    const bucket = await ensureBucket(env)
    console.log(`Bucket ${bucket.name}: ${bucket.created ? 'created' : 'exists'}.`)
    // The page loads these files, so they are uploaded before it.
    const sent = await uploadRuntimeFiles(await cloudflareTarget(env), runtimeFiles)
    console.log(
      `onnxruntime files: ${sent === 0 ? 'exist' : `uploaded ${sent}, each uncompressed and compressed`}.`,
    )

    const previous = await readDeployment(env)
    const token = previous?.token ?? randomBytes(32).toString('base64url')
    const url = await deployWorker(env, previous === null ? token : null)
    if (url === null) {
      console.log(
        'Worker: deployed. It has no workers.dev address, which --remote needs. Publish with --to instead.',
      )
      return
    }
    if (previous === null || previous.url !== url) await writeDeployment(env, { url, token })
    console.log(`Worker: deployed to ${url}. Publish token: ${previous === null ? 'created' : 'unchanged'}.`)
  })

/**
 * Deploys Worker and page.
 * @param token becomes the Worker's secret PUBLISH_TOKEN; null leaves the secret unchanged
 * @returns the Worker's address, or null if wrangler prints none
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
