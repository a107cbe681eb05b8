import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { findBrowser } from '../test/support/browser.ts'
import { vulkanEnvironment } from '../test/support/vulkan.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const allTests = ['shared/**/*.test.ts', 'trainer/**/*.test.ts', 'edge/**/*.test.ts', 'test/**/*.test.ts']

const command = new Command('npm test --')
  .description('Checks types, lint and format, and runs all tests.')
  .argument('[files...]', 'run only these test files, without the checks')
  .addHelpText(
    'after',
    `
The browser tests need Chrome, Chromium or Edge. If none is found, "npm test" without files installs Chromium with
apt-get. This needs root on Debian or Ubuntu. To prevent the installation, set CHROME_PATH to the browser's executable.

Examples:
  npm test
  npm test -- test/http/node.test.ts
  CHROME_PATH=/opt/chrome/chrome npm test`,
  )
  .action(main)

async function main(files: string[]): Promise<void> {
  if (files.length === 0) {
    if (findBrowser() === null) installBrowser()
    runNode(join(root, 'run.js'), 'check')
  }
  Object.assign(process.env, vulkanEnvironment(findBrowser()))
  const patterns = files.length > 0 ? files : allTests
  runNode('--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', ...patterns)
}

/** Runs the project's Node. Exits this process if it fails. */
function runNode(...args: string[]): void {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const installSteps = [
  ['apt-get', 'update'],
  ['apt-get', 'install', '-y', '--no-install-recommends', 'chromium'],
] as const

/**
 * Installs Chromium with apt-get, after announcing it.
 * @throws UserError if apt-get is not available, this user is not root, or the installation fails
 */
function installBrowser(): void {
  const isRoot = process.getuid?.() === 0
  if (isRoot && spawnSync('apt-get', ['--version']).status === 0) {
    console.log(
      [
        'The browser tests need Chromium, and no browser was found. Installing it system-wide with:',
        ...installSteps.map((step) => `  ${step.join(' ')}`),
        'To use another browser instead, press Ctrl+C, set CHROME_PATH to its executable and run npm test again.',
        'To run only the tests that need no browser: npm run test:unit',
      ].join('\n'),
    )
    const succeeded = installSteps.every(
      ([program, ...args]) =>
        spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0,
    )
    if (succeeded && findBrowser() !== null) return
  }
  throw new UserError(
    'Cannot run the browser tests: no Chrome or Chromium was found. Install one (Debian and Ubuntu: sudo apt-get ' +
      'install chromium; elsewhere Google Chrome), or set CHROME_PATH to its executable. Then run npm test again.',
  )
}

await runCommand(command)
