import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'

const root = fileURLToPath(new URL('..', import.meta.url))

const command = new Command('npm run check --')
  .description('Checks types (tsc), lint and format (Biome).')
  .option('--fix', 'apply the format and the safe lint fixes')
  .action(({ fix }: { fix?: true }) => {
    const tools = [
      ['typescript/bin/tsc', '-b'],
      ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings', ...(fix ? ['--write'] : []), '.'],
    ]
    for (const [tool, ...args] of tools) {
      const { status } = spawnSync(process.execPath, [join(root, 'node_modules', tool!), ...args], {
        cwd: root,
        stdio: 'inherit',
      })
      if (status !== 0) process.exitCode = 1
    }
  })

await runCommand(command)
