import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { buildPackage } from '../build/package.ts'

const command = new Command('npm run package --')
  .description(
    'Packs the sampler module for npm: JavaScript with types, onnxruntime, and the entry point for Node.',
  )
  .option('--out <folder>', 'output folder of the tarball', '.')
  .option('--repository <url>', 'address of the source code (default: the git remote "origin")')
  .addHelpText(
    'after',
    `
Examples:
  npm run package
  npm run package -- --out /tmp && cd ../my-page && npm install /tmp/ddpm-sampler-0.1.0.tgz`,
  )
  .action(async ({ out, repository }: { out: string; repository?: string }) => {
    const folder = await mkdtemp(join(tmpdir(), 'ddpm-package-'))
    try {
      await buildPackage(folder, repository)
      const { stdout } = await promisify(execFile)(
        'npm',
        ['pack', '--silent', '--pack-destination', resolve(out)],
        { cwd: folder, shell: process.platform === 'win32' },
      )
      console.log(`Packed ${join(out, stdout.trim())}`)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

await runCommand(command)
