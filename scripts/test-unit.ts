import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'

const root = fileURLToPath(new URL('..', import.meta.url))

const command = new Command('npm run test:unit --')
  .description('Runs the tests next to the sources: no browser, no server, no training.')
  .action(() => {
    const patterns = ['shared', 'trainer', 'edge'].map((folder) => `${folder}/**/*.test.ts`)
    const args = [
      '--disable-warning=ExperimentalWarning',
      '--test',
      '--test-reporter=spec',
      `--test-concurrency=${availableParallelism()}`,
      ...patterns,
    ]
    const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
    process.exitCode = status ?? 1
  })

await runCommand(command)
