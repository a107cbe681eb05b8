import { runCommand } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import { buildSite } from '../build/site.ts'
import {
  cloudflareTarget,
  type Environment,
  ensureBucket,
  environmentOption,
  environments,
} from './hosting/cloudflare.ts'
import { deployWorker } from './hosting/deploy-worker.ts'
import { uploadRuntimeFiles } from './hosting/runtime-files.ts'
import { wranglerOrFail } from './hosting/wrangler.ts'

const command = new Command('npm run deploy --')
  .description('Deploys the Worker, the page and their bucket to Cloudflare, as configured in wrangler.toml.')
  .addOption(new Option('--env <name>', 'environment to deploy').choices(environments).default('production'))
  .option('--new-token', 'replace the publish token')
  .option('--dry-run', 'build and check everything without sending anything; needs no account')
  .addHelpText(
    'after',
    `
Log in before the first deployment: npx wrangler login
Publish models afterwards:          npm run publish -- FOLDER --remote

The command creates what is missing: the bucket, onnxruntime's files in it, the Worker, and the token that
"publish --remote" uses. The token is stored as the Worker's secret and in .wrangler/deployments.json. If the Worker was
deployed elsewhere and already has a token, the command keeps it.

Examples:
  npm run deploy -- --dry-run
  npm run deploy -- --env staging
  npm run deploy`,
  )
  .action(
    async ({ env, dryRun, newToken = false }: { env: Environment; dryRun?: true; newToken?: boolean }) => {
      const { runtimeFiles } = await buildSite()
      if (dryRun) {
        const { stdout } = await wranglerOrFail(['deploy', '--dry-run', environmentOption(env)])
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

      const { url, tokenStatus } = await deployWorker(env, { newToken })
      console.log(
        `Worker: deployed to ${url ?? 'no address that --remote can use'}. Publish token: ${tokenStatus}.`,
      )
      if (url === null) {
        console.log(
          'wrangler reported no workers.dev address, no custom domain and no route for a whole host. Publish with --to and ' +
            'the address, and set DDPM_PUBLISH_TOKEN to the token in .wrangler/deployments.json.',
        )
      }
    },
  )

await runCommand(command)
