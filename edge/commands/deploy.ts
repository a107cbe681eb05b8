import { runCommand } from '@ddpm/shared/command'
import { Command } from 'commander'
import { buildClient } from '../build.ts'
import { ensureRemoteBucket, remoteBucket } from './bucket.ts'
import { uploadRuntime } from './upload.ts'
import { wranglerOrFail } from './wrangler.ts'

const command = new Command('npm run deploy --')
  .description('Puts the Worker, the page and their bucket on Cloudflare, under the name in wrangler.toml.')
  .option('--dry-run', 'build and check everything, send nothing; needs no account')
  .addHelpText(
    'after',
    `
Before the first time: npx wrangler login
Afterwards:            npm run publish -- FOLDER --remote

Examples:
  npm run deploy -- --dry-run
  npm run deploy`,
  )
  .action(async ({ dryRun }: { dryRun?: true }) => {
    const { runtimeFiles } = await buildClient()
    if (dryRun) {
      const { stdout } = await wranglerOrFail(['deploy', '--dry-run'])
      console.log(stdout.trim())
      return
    }
    if ((await ensureRemoteBucket()) === 'created') console.log('Created the bucket.')
    console.log("Sending onnxruntime's files, where they are not there yet …")
    await uploadRuntime(await remoteBucket(), runtimeFiles)
    const { stdout } = await wranglerOrFail(['deploy'])
    console.log(stdout.trim())
  })

await runCommand(command)
