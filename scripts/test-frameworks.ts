import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'

const root = fileURLToPath(new URL('..', import.meta.url))

const command = new Command('npm run test:frameworks --')
  .description(
    'Tests the packed sampler in Vite, React, webpack, Next, SvelteKit, rollup and esbuild. Installs them in a temporary folder.',
  )
  .option('--only <text>', 'run only the tests whose names contain this text')
  .action(({ only }: { only?: string }) => {
    const args = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec']
    if (only !== undefined) args.push(`--test-name-pattern=${only}`)
    const { status } = spawnSync(process.execPath, [...args, 'test/frameworks/matrix.ts'], {
      cwd: root,
      stdio: 'inherit',
    })
    process.exitCode = status ?? 1
  })

await runCommand(command)
