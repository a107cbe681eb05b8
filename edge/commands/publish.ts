import { runCommand } from '@ddpm/shared/command'
import { Command } from 'commander'
import { localBucket, remoteBucket } from './bucket.ts'
import { type Overrides, readExported } from './exported.ts'
import { uploadModel } from './upload.ts'

interface Options extends Overrides {
  remote?: true
  persistTo?: string
}

const command = new Command('npm run publish --')
  .description('Puts an exported model into the bucket that the edge serves from.')
  .argument('<folder>', 'an exported model, or the folder of a training run that holds export/')
  .option('--name <owner/name>', "the model's name on the edge (default: the manifest's)")
  .option('--description <text>', 'what it draws, in a sentence')
  .option('--licence <text>', 'under which licence others may use it')
  .option('--remote', "publish to Cloudflare instead of this machine's local bucket")
  .option('--persist-to <folder>', 'where the local bucket is kept (default: .wrangler/state)')
  .addHelpText(
    'after',
    `
Examples:
  npm run publish -- runs/shapes
  npm run publish -- runs/mnist --name ada/digits --licence CC0-1.0
  npm run publish -- runs/mnist --name ada/digits --remote`,
  )
  .action(async (folder: string, { remote, persistTo, ...overrides }: Options) => {
    const { manifest, files } = await readExported(folder, overrides)
    const bucket = remote ? await remoteBucket() : await localBucket(persistTo)
    try {
      const change = await uploadModel(bucket, manifest, files)
      console.log(outcome[change](manifest.name, remote ? 'on Cloudflare' : 'locally'))
    } finally {
      await bucket.close()
    }
  })

const outcome = {
  new: (name: string, where: string) => `Published ${name} ${where}.`,
  changed: (name: string, where: string) => `Replaced ${name} ${where}.`,
  unchanged: (name: string, where: string) => `${name} is already published ${where}; nothing changed.`,
}

await runCommand(command)
