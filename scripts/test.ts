import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { findBrowser } from '../test/support/browser.ts'
import { vulkanEnvironment } from '../test/support/vulkan.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Groups of test files that run one after another, and how many files of a group run at a time. */
const groups: readonly { readonly patterns: readonly string[]; readonly concurrency: number }[] = [
  {
    patterns: ['shared/**/*.test.ts', 'trainer/**/*.test.ts', 'edge/**/*.test.ts', 'test/*.test.ts'],
    concurrency: availableParallelism(),
  },
  { patterns: ['test/{cli,http}/*.test.ts'], concurrency: availableParallelism() },
  // The software renderer and WebAssembly use every core.
  { patterns: ['test/browser/**/*.test.ts'], concurrency: 1 },
]

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
    if (!runNode(join(root, 'run.js'), 'check')) process.exit(1)
  }
  Object.assign(process.env, vulkanEnvironment(findBrowser()))
  const selected = files.length > 0 ? [{ patterns: files, concurrency: 1 }] : groups
  const results = selected.map(({ patterns, concurrency }) =>
    runNode(
      '--disable-warning=ExperimentalWarning',
      '--test',
      '--test-reporter=spec',
      `--test-concurrency=${concurrency}`,
      ...patterns,
    ),
  )
  if (results.includes(false)) process.exitCode = 1
}

/** Runs the project's Node and returns whether it succeeded. Exits this process if a signal ended it. */
function runNode(...args: string[]): boolean {
  const { status, signal } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (signal !== null) process.exit(1)
  return status === 0
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
