#!/usr/bin/env node
// Entry point of every `npm run NAME`. It installs the dependencies if package-lock.json has changed since the last
// installation, then runs the command's TypeScript with the project's own Node (the npm package `node`). It is plain
// JavaScript because it runs before the installation, with any Node from version 20 on.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const commands = {
  start: 'trainer/src/commands/start.ts',
  train: 'trainer/src/commands/train.ts',
  sample: 'trainer/src/commands/sample.ts',
  evaluate: 'trainer/src/commands/evaluate.ts',
  plan: 'trainer/src/commands/plan.ts',
  export: 'trainer/src/commands/export.ts',
  import: 'trainer/src/commands/import.ts',
  publish: 'edge/commands/publish.ts',
  dev: 'edge/commands/dev.ts',
  serve: 'edge/commands/serve.ts',
  deploy: 'edge/commands/deploy.ts',
  static: 'edge/commands/static.ts',
  package: 'edge/commands/package.ts',
  check: 'scripts/check.ts',
  test: 'scripts/test.ts',
  'test:unit': 'scripts/test-unit.ts',
  'test:frameworks': 'scripts/test-frameworks.ts',
  setup: 'trainer/src/commands/setup.ts',
  bundle: 'trainer/src/commands/bundle.ts',
  doctor: 'trainer/src/commands/doctor.ts',
  'bench:train': 'bench/train.ts',
  'bench:gpu': 'bench/gpu.ts',
  'bench:quality': 'bench/quality.ts',
  'bench:samplers': 'bench/samplers.ts',
  'bench:sampling': 'bench/sampling.ts',
  'bench:edge': 'bench/edge.ts',
  'bench:bytes': 'bench/bytes.ts',
  'bench:browser': 'bench/browser.ts',
  'bench:page': 'bench/page.ts',
  'mutate:edge': 'scripts/mutate.ts',
}

const root = fileURLToPath(new URL('.', import.meta.url))
const [name, ...args] = process.argv.slice(2)

function fail(message) {
  console.error(message)
  process.exit(1)
}

/** File with the hash of the lock file at the last installation. */
const stamp = join(root, 'node_modules/.ddpm-installed')

function lockHash() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
}

function isInstalled() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === lockHash()
}

function install() {
  console.log('Installing the dependencies (once) …')
  const { status } = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
    // onnxruntime-node's install script downloads CUDA libraries. Its CPU and WebGPU libraries are in the package.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
    shell: process.platform === 'win32',
  })
  if (status !== 0)
    fail('npm install failed; see its messages above. Fix the cause and run the same command again.')
  writeFileSync(stamp, lockHash())
}

// A bundle for machines without internet access has only the commands of training.
const names = Object.keys(commands).filter((each) => existsSync(join(root, commands[each])))
if (name === '--help' || name === '-h') {
  console.log(
    `Commands (add -- --help for the options of one):\n${names.map((each) => `  npm run ${each}`).join('\n')}`,
  )
  process.exit()
}
if (!names.includes(name ?? '')) {
  // The package is missing before the first installation. There is no suggestion then.
  const { closestMatch } = await import('leven').catch(() => ({}))
  const nearest = closestMatch?.(name ?? '', names, { maxDistance: 3 })
  fail(
    `Unknown command "${name ?? ''}".${nearest ? ` Did you mean "${nearest}"?` : ''} The commands are: ${names.join(', ')}.`,
  )
}
if (Number(process.versions.node.split('.')[0]) < 20) {
  fail(`Node ${process.versions.node} is too old: install Node 20 or newer (https://nodejs.org).`)
}
if (!isInstalled()) install()

const pinned = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies.node
const node = join(root, 'node_modules/node/bin', process.platform === 'win32' ? 'node.exe' : 'node')
if (!existsSync(node)) {
  fail(
    `The project's own Node ${pinned} is missing from node_modules. ` +
      'If npm is configured to ignore install scripts, run: npm rebuild node',
  )
}

// npm runs scripts in the project's folder. Relative paths refer to the folder in which the command was typed.
const isNpmScript = process.env.npm_lifecycle_event === name
const cwd = (isNpmScript && process.env.INIT_CWD) || process.cwd()
const child = spawn(node, ['--disable-warning=ExperimentalWarning', join(root, commands[name]), ...args], {
  cwd,
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))
