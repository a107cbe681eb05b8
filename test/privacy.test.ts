// Checks that the commands, the servers and both modules send nothing to other machines, and that they write only into
// the project and the folder for temporary files. docs/privacy.md makes these promises.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import sharp from 'sharp'
import { findFreePort } from '../edge/commands/hosting/workerd.ts'
import { readTrace, type Trace, traced, whyUntraceable } from './support/trace.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'ddpm-privacy-')))
const home = join(folder, 'home')
const traces = join(folder, 'traces')
for (const each of [home, traces]) mkdirSync(each)
after(() => rmSync(folder, { recursive: true, force: true }))

const untraceable = whyUntraceable()

/** onnxruntime first tries to upload telemetry about 9 seconds after the first session was created. */
const heldSessionMilliseconds = untraceable === null ? 15_000 : 0

const env: NodeJS.ProcessEnv = {
  ...process.env,
  ...{ HOME: home, USERPROFILE: home, APPDATA: home, LOCALAPPDATA: home },
  ...{ XDG_CACHE_HOME: undefined, XDG_CONFIG_HOME: undefined, XDG_DATA_HOME: undefined },
  // A user's setting must not enable what the project disables.
  ...{ ORT_DISABLE_TELEMETRY: '0', WRANGLER_SEND_METRICS: 'true', CI: undefined },
}

let runs = 0

/** Starts Node in a process group of its own, under strace if possible. */
function start(args: readonly string[]): ChildProcess {
  const program = [process.execPath, ...args]
  const [file, ...rest] = untraceable === null ? traced(join(traces, `${runs++}`), program) : program
  return spawn(file!, rest, { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
}

async function finish(child: ChildProcess): Promise<void> {
  const [output, errors, status] = await Promise.all([
    child.stdout!.setEncoding('utf8').toArray(),
    child.stderr!.setEncoding('utf8').toArray(),
    new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve)),
  ])
  assert.equal(status, 0, `${child.spawnargs.join(' ')}\n${output.join('')}${errors.join('')}`)
}

const command = (...args: string[]) => finish(start([join(root, 'run.js'), ...args]))

/** Runs JavaScript that imports modules of this project. */
const script = (code: string) => finish(start(['--input-type=module', '-e', code]))

/** Starts a server, requests its page, its models and a file, and stops it. */
async function visit(...args: string[]): Promise<void> {
  const port = await findFreePort(0, 'localhost')
  const server = start([join(root, 'run.js'), ...args, '--port', String(port)])
  const errors = server.stderr!.setEncoding('utf8').toArray()
  for await (const line of createInterface(server.stdout!)) if (line.startsWith('Serving ')) break
  try {
    for (const path of ['/', '/api/models', '/sampler.js']) {
      const response = await fetch(`http://localhost:${port}${path}`).catch(async (error: Error) => {
        throw new Error(`${args.join(' ')}: ${error.message}\n${(await errors).join('')}`)
      })
      assert.equal(response.status, 200, path)
      await response.arrayBuffer()
    }
  } finally {
    const closed = new Promise((resolve) => server.on('close', resolve))
    server.stdout!.resume()
    // Ctrl+C in a terminal: the signal reaches the whole process group.
    process.kill(-server.pid!, 'SIGINT')
    await closed
  }
}

const at = (name: string) => join(folder, name)
const moduleUrl = (path: string) => JSON.stringify(new URL(`../${path}`, import.meta.url).href)
const model = JSON.stringify(join(root, 'edge/models/shapes'))

async function useEverything(): Promise<void> {
  mkdirSync(at('images'))
  for (const name of ['a', 'b', 'c', 'd']) {
    await sharp({ create: { width: 8, height: 8, channels: 3, background: 'teal' } }).toFile(
      at(`images/${name}.png`),
    )
  }
  const network = '--size 8 --base-channels 8 --channel-multiples 1,2 --attention false,false'
  const training = '--steps 5 --batch-size 4 --timesteps 20 --sampling-steps 2 --validation 0.25'
  const options = `${network} ${training}`.split(' ')
  await command('train', '--data', at('images'), '--out', at('run'), ...options)
  await command('sample', at('run'), '--count', '1', '--out', at('samples.png'))
  await command('export', at('run'), '--name', 'test/shapes')
  await command('publish', at('run'), '--folder', at('registry'))
  await visit('serve', at('registry'))
  await visit('dev', '--persist-to', at('state'))
}

/** Uses the modules as another program does, and keeps onnxruntime's session open until it would upload telemetry. */
async function useModules(): Promise<void> {
  await script(`
    import { openModel } from ${moduleUrl('trainer/src/inference/model.ts')}
    const model = await openModel(${model}, 'ema')
    await new Promise((resolve) => setTimeout(resolve, ${heldSessionMilliseconds}))
    await model.dispose()`)
  await script(`
    import { load } from ${moduleUrl('edge/sampler/node.ts')}
    const model = await load(${model}, { threads: 1 })
    await model.sample({ steps: 2 })
    process.exit()`)
}

suite('privacy', { timeout: 300_000 }, () => {
  test('training, sampling, export, publishing, both servers and both modules write nothing to the home folder', async () => {
    await Promise.all([useEverything(), useModules()])
    assert.deepEqual(readdirSync(home, { recursive: true }), [])
  })

  test('they connect only to this machine, and write only into the project and the temporary folder', {
    skip: untraceable ?? false,
  }, () => {
    assert.ok(readdirSync(traces).length > 50, 'too few threads were traced')
    const expected: Trace = { connections: [], files: [] }
    assert.deepEqual(readTrace(traces, [realpathSync(root), realpathSync(tmpdir())]), expected)
  })

  test('a trace reports a DNS query, a connection and a file in another folder', {
    skip: untraceable ?? false,
  }, async () => {
    const own = at('control')
    mkdirSync(own)
    // Connecting a UDP socket sends no packet. 192.0.2.1 is reserved for documentation (RFC 5737).
    const code = `
      require('node:fs').writeFileSync(${JSON.stringify(join(home, 'file'))}, '')
      for (const [port, address] of [[53, '127.0.0.1'], [443, '192.0.2.1'], [8787, '127.0.0.1']]) {
        const socket = require('node:dgram').createSocket('udp4')
        socket.on('error', () => {}).connect(port, address, () => socket.close())
      }`
    const [file, ...args] = traced(join(own, 'trace'), [process.execPath, '-e', code])
    execFileSync(file!, args)
    assert.deepEqual(readTrace(own, []), {
      connections: ['127.0.0.1:53', '192.0.2.1:443'],
      files: [join(home, 'file')],
    })
  })

  test('onnxruntime does not load in a worker thread that cannot disable its telemetry', async () => {
    const code = `import(${moduleUrl('trainer/src/support/onnxruntime-node.ts')}).then(() => process.exit(0))`
    const start = (value: string) => {
      const worker = new Worker(code, {
        eval: true,
        stderr: true,
        env: { ...process.env, ORT_DISABLE_TELEMETRY: value },
      })
      return new Promise((resolve) => {
        worker.on('error', (error) => resolve((error as Error).message)).on('exit', resolve)
      })
    }
    assert.equal(await start('1'), 0)
    assert.match(
      String(await start('0')),
      /^Cannot use onnxruntime in this worker thread.*ORT_DISABLE_TELEMETRY/,
    )
  })

  test('only one file loads onnxruntime-node', () => {
    const files = execFileSync('git', ['ls-files', '*.ts', '*.js', '*.mjs'], { cwd: root, encoding: 'utf8' })
    const loads = /^(import(?! type)|export)[^'"]*from 'onnxruntime-node'|\('onnxruntime-node'\)/m
    const loading = files
      .trim()
      .split('\n')
      .filter((path) => loads.test(readFileSync(join(root, path), 'utf8')))
    assert.deepEqual(loading, ['trainer/src/support/onnxruntime-node.ts'])
  })
})
