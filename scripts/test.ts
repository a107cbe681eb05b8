import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { findBrowser } from '../test/support/browser.ts'
import { vulkanEnvironment } from '../test/support/vulkan.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const command = new Command('npm test --')
  .description('Brings a browser where there is none, checks types, lint and format, and runs every test.')
  .argument('[files...]', 'run only these test files, without the checks')
  .action(main)

async function main(files: string[]): Promise<void> {
  if (files.length === 0) {
    bringBrowser()
    node(join(root, 'run.js'), 'check')
  }
  const patterns =
    files.length > 0
      ? files
      : ['shared/**/*.test.ts', 'trainer/**/*.test.ts', 'edge/**/*.test.ts', 'test/**/*.test.ts']
  Object.assign(process.env, vulkanEnvironment(findBrowser()))
  node('--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', ...patterns)
}

/** Runs something under the project's Node; ends here where it fails. */
function node(...args: string[]): void {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

/** Installs Debian's Chromium where no browser is found and apt can be used. */
function bringBrowser(): void {
  if (findBrowser() !== null) return
  const run = (...args: string[]) =>
    spawnSync('apt-get', args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
  if (process.getuid?.() === 0 && spawnSync('apt-get', ['--version']).status === 0) {
    console.log('No browser found: installing chromium with apt-get …')
    if (
      run('update') &&
      run('install', '-y', '--no-install-recommends', 'chromium') &&
      findBrowser() !== null
    )
      return
  }
  throw new UserError(
    'Found no Chromium or Chrome for the browser tests. Install one (on Debian or Ubuntu: sudo apt-get install ' +
      'chromium; elsewhere Google Chrome), or name its executable in CHROME_PATH, and run npm test again.',
  )
}

await runCommand(command)
