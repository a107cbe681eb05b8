#!/usr/bin/env node
// `npm run NAME` starts here. Plain JavaScript, because it runs before the installation and under any
// Node from 20 on: it installs the dependencies where the lock file is not the one installed, then starts
// the command's TypeScript under the Node that the project pins (the `node` package).
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
  doctor: 'trainer/src/commands/doctor.ts',
  'bench:train': 'bench/train.ts',
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

/** Holds the hash of the lock file that was installed last. */
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
    // Its install script would download CUDA libraries; the CPU and WebGPU ones are in the package.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
    shell: process.platform === 'win32',
  })
  if (status !== 0)
    fail('npm install failed; its messages are above. Mend that and run the same command again.')
  writeFileSync(stamp, lockHash())
}

if (!Object.hasOwn(commands, name ?? '')) {
  fail(`Found the command "${name ?? ''}"; expected one of: ${Object.keys(commands).join(', ')}.`)
}
if (Number(process.versions.node.split('.')[0]) < 20) {
  fail(`Found Node ${process.versions.node}; Node 20 or newer is needed to start (https://nodejs.org).`)
}
if (!isInstalled()) install()

const pinned = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies.node
const node = join(root, 'node_modules/node/bin', process.platform === 'win32' ? 'node.exe' : 'node')
if (!existsSync(node)) {
  fail(
    `The project's own Node ${pinned} is missing from node_modules. ` +
      'If npm was told to ignore install scripts, run: npm rebuild node',
  )
}

const child = spawn(node, ['--disable-warning=ExperimentalWarning', join(root, commands[name]), ...args], {
  stdio: 'inherit',
})
// The terminal sends Ctrl+C to the whole group; a signal sent to this process alone is handed on.
process.on('SIGINT', () => {})
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))
