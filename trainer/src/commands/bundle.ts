import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { packParts, stageBundle } from '../setup/bundle.ts'
import { formatBytes } from '../support/files.ts'

const command = new Command('npm run bundle --')
  .description(
    'Packs everything that training needs on a Linux x64 machine without internet access, in parts of at most 60 MiB: ' +
      'Node, the sources, the packages and the included models.',
  )
  .option('--out <folder>', 'folder for the parts', 'bundle')
  .option('--data <path>', 'also pack these images, as data/NAME')
  .option('--cuda', 'also pack CUDA for onnxruntime, after npm run setup -- cuda', false)
  .addHelpText(
    'after',
    `
Examples:
  npm run bundle
  npm run bundle -- --cuda --data my/images

On the other machine:
  cat ddpm.tar.gz.* | tar xz
  ddpm/ddpm train --data ddpm/data/images`,
  )
  .action(main)

async function main({ out, data, cuda }: { out: string; data?: string; cuda: boolean }): Promise<void> {
  mkdirSync(out, { recursive: true })
  const staging = mkdtempSync(join(tmpdir(), 'ddpm-bundle-'))
  try {
    await stageBundle(join(staging, 'ddpm'), { data, cuda })
    console.log('Packing …')
    const parts = await packParts(staging, 'ddpm', join(out, 'ddpm.tar.gz'))
    for (const part of parts) console.log(`${part}  ${formatBytes(statSync(part).size)}`)
    const names = parts.length === 1 ? basename(parts[0]!) : 'ddpm.tar.gz.*'
    console.log(
      `On the other machine:\n  cat ${names} | tar xz\n  ddpm/ddpm train${data === undefined ? '' : ` --data ddpm/data/${basename(data)}`}`,
    )
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

await runCommand(command)
