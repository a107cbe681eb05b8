import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { listCheckpoints, stepOfCheckpoint } from '../../trainer/src/run/checkpoint.ts'
import { openCheckpoint } from '../../trainer/src/run/run.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-hard-'))
after(() => rmSync(folder, { recursive: true }))

const script = fileURLToPath(new URL('../../trainer/src/commands/train.ts', import.meta.url))
const runner = fileURLToPath(new URL('../../run.js', import.meta.url))
const node = [process.execPath, '--disable-warning=ExperimentalWarning', script] as const
const tiny =
  '--data shapes:32 --base-channels 8 --channel-multiples 1,1 --attention false,false --batch-size 2 --threads 1 ' +
  '--sample-every 1000 --validate-every 1000'

/** Starts `npm run train` in the background. */
function start(
  args: string,
  program: readonly string[] = node.slice(1),
): ChildProcess & { output: () => string; ended: Promise<number | string> } {
  const child = spawn(node[0], [...program, ...args.split(' ')], { cwd: folder })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => {
      output += text
    })
  const ended = new Promise<number | string>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal ?? ''))
  })
  return Object.assign(child, { output: () => output, ended })
}

function run(args: string): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(node[0], [...node.slice(1), ...args.split(' ')], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 30_000; !condition(); await setTimeout(5)) {
    if (Date.now() > end) assert.fail(`Waited 30 s for ${what}.`)
  }
}

function metricsOf(name: string): { step: number; loss?: number }[] {
  const text = readFileSync(join(folder, name, 'metrics.jsonl'), 'utf8')
  assert.ok(text.endsWith('\n'), 'incomplete line at the end')
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

function isTraining(name: string): boolean {
  return listCheckpoints(join(folder, name)).length > 0
}

function leftovers(name: string): string[] {
  return readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' }).filter((path) =>
    /\.part$|^lock/.test(path),
  )
}

test('a run killed with SIGKILL at any moment resumes and ends bit-identical', async () => {
  // A checkpoint after every step, so that many kills happen during a write.
  const steps = '--steps 150 --checkpoint-every 1'
  const reference = start(`${tiny} ${steps} --out reference`)
  const last = () => listCheckpoints(join(folder, 'killed')).at(-1)
  for (let round = 0; round < 6; round++) {
    const before = last()
    const child = start(before ? '--resume killed --threads 1' : `${tiny} ${steps} --out killed`)
    await until(() => last() !== before || child.exitCode !== null, 'a new checkpoint')
    assert.equal(child.exitCode, null, child.output())
    await setTimeout(Math.random() * 100)
    child.kill('SIGKILL')
    await child.ended
  }
  assert.equal(await reference.ended, 0, reference.output())
  const { status, output } = run('--resume killed --threads 1')
  assert.equal(status, 0, output)
  const losses = (name: string) =>
    metricsOf(name).flatMap(({ step, loss }) => (loss === undefined ? [] : [[step, loss]]))
  assert.deepEqual(losses('killed'), losses('reference'))
  assert.equal(losses('reference').length, 150)
  const weights = (name: string) => readFileSync(listCheckpoints(join(folder, name)).at(-1)!)
  // Only the wall time in the header differs.
  assert.deepEqual(weights('killed').subarray(-50_000), weights('reference').subarray(-50_000))
  assert.deepEqual(leftovers('killed'), [])
})

suite('signals', () => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    test(`${signal} saves and stops`, async () => {
      const name = signal.toLowerCase()
      const child = start(`${tiny} --steps 100000 --checkpoint-every 2 --out ${name}`)
      await until(() => isTraining(name), 'a checkpoint')
      // A closed terminal also closes the output.
      if (signal === 'SIGHUP') child.stdout!.destroy()
      child.kill(signal)
      if (signal === 'SIGTERM') child.kill(signal)
      assert.equal(await child.ended, code, child.output())
      const saved = stepOfCheckpoint(listCheckpoints(join(folder, name)).at(-1)!)
      assert.equal(metricsOf(name).at(-1)!.step, saved)
      assert.deepEqual(leftovers(name), [])
      if (signal !== 'SIGHUP') assert.match(child.output(), new RegExp(`Stopped and saved at step ${saved}`))
    })
  }

  test('a signal to the starter alone is forwarded, and repetitions by npm and the terminal do not kill the process', async () => {
    const child = start(`${tiny} --steps 100000 --checkpoint-every 2 --out forwarded`, [runner, 'train'])
    await until(() => isTraining('forwarded'), 'a checkpoint')
    child.kill('SIGINT')
    child.kill('SIGINT')
    assert.equal(await child.ended, 130, child.output())
    assert.match(child.output(), /Stopped and saved at step/)
  })

  test('a second Ctrl+C stops at once', async () => {
    const child = start(`${tiny} --batch-size 64 --steps 100000 --checkpoint-every 1 --out twice`)
    await until(() => isTraining('twice'), 'a checkpoint')
    child.kill('SIGINT')
    await until(
      () => /SIGINT: saving/.test(child.output()) || child.exitCode !== null,
      'the first signal to be handled',
    )
    child.kill('SIGINT')
    // The signal kills the process, unless the step was finished and saved before.
    assert.ok(['SIGINT', 130].includes(await child.ended), child.output())
  })
})

test('a second process in the same folder is rejected, and the lock of a crashed process is replaced', async () => {
  const child = start(`${tiny} --steps 100000 --checkpoint-every 1 --out shared`)
  await until(() => isTraining('shared'), 'a checkpoint')
  const refusal = new RegExp(`Another process is training in shared: process ${child.pid}\\.`)
  for (const args of ['--resume shared', `${tiny} --out shared`]) {
    const { status, output } = run(args)
    assert.equal(status, 1)
    assert.match(output, refusal)
  }
  child.kill('SIGKILL')
  await child.ended
  assert.ok(existsSync(join(folder, 'shared/lock')))
  const done = stepOfCheckpoint(listCheckpoints(join(folder, 'shared')).at(-1)!)
  const resumed = run(`--resume shared --threads 1 --steps ${done + 1}`)
  assert.equal(resumed.status, 0, resumed.output)

  // Another process has the same id now.
  const holder = { pid: process.pid, host: (await import('node:os')).hostname(), began: '1' }
  writeFileSync(join(folder, 'shared/lock'), JSON.stringify(holder))
  assert.match(run('--resume shared').output, /shared is finished/)
})

test('a full disk stops the run, which resumes from its last checkpoint', async (t) => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return t.skip('mounting a small disk needs root on Linux')
  const disk = join(folder, 'disk')
  mkdirSync(disk)
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk], {
    encoding: 'utf8',
  })
  if (status !== 0) return t.skip(`mount refused: ${stderr.trim()}`)
  try {
    const full = run(`${tiny} --steps 40 --checkpoint-every 2 --keep 50 --out disk/run`)
    assert.equal(full.status, 1, full.output)
    assert.match(
      full.output,
      /Only \S+ \w+ are free in disk\/run, but the checkpoints of the run need up to \S+ \w+\. Free some space/,
    )
    assert.match(
      full.output,
      /Cannot write disk\/run\/\S+: the disk is full\. The file needs \S+ \w+, but only \S+ \w+ are free in disk\/run/,
    )
    const last = listCheckpoints(join(disk, 'run')).at(-1)!
    assert.ok(
      full.output.includes(`The last good checkpoint is ${last.slice(folder.length + 1)}`),
      full.output,
    )
    assert.doesNotMatch(full.output, /\n\s+at /)
    assert.deepEqual(leftovers('disk/run'), [])
    // The disk is still full: the same error, and nothing is lost.
    assert.match(run('--resume disk/run --threads 1').output, /the disk is full/)
    assert.equal(listCheckpoints(join(disk, 'run')).at(-1), last)

    spawnSync('mount', ['-o', 'remount,size=60m', disk])
    const resumed = run('--resume disk/run --threads 1')
    assert.equal(resumed.status, 0, resumed.output)
    assert.deepEqual(
      metricsOf('disk/run').flatMap(({ step, loss }) => (loss === undefined ? [] : [step])),
      Array.from({ length: 40 }, (_, i) => i + 1),
    )
  } finally {
    spawnSync('umount', [disk])
  }
})

test('a damaged checkpoint is reported, and the previous one is used', () => {
  const name = 'damaged'
  assert.equal(run(`${tiny} --steps 6 --checkpoint-every 2 --out ${name}`).status, 0)
  const [second, fourth, sixth] = listCheckpoints(join(folder, name)) as [string, string, string]
  truncateSync(sixth, 5000)
  const bytes = readFileSync(fourth)
  bytes[bytes.length - 1_000]! ^= 1
  writeFileSync(fourth, bytes)
  const { status, output } = run(`--resume ${name} --threads 1`)
  assert.equal(status, 0, output)
  assert.match(output, /step-00000006\.safetensors is a damaged safetensors file/)
  assert.match(output, /step-00000004\.safetensors is damaged: expected the checksum/)
  assert.match(output, /Using the previous checkpoint: .*step-00000002\.safetensors/)
  assert.ok(second)

  for (const path of listCheckpoints(join(folder, name))) truncateSync(path, 5000)
  assert.match(run(`--resume ${name}`).output, /All checkpoints in damaged are damaged/)
})

test('a checkpoint of another network or a newer version is rejected with the difference', () => {
  assert.equal(run(`${tiny} --steps 2 --out other --base-channels 16`).status, 0)
  assert.equal(run(`${tiny} --steps 2 --out own`).status, 0)
  cpSync(join(folder, 'other/checkpoints'), join(folder, 'own/checkpoints'), { recursive: true })
  assert.match(
    run('--resume own').output,
    /The network of .* is not the one in config\.json of its run:\n {2}baseChannels: expected 8, got 16\n/,
  )
  const path = listCheckpoints(join(folder, 'other')).at(-1)!
  writeFileSync(path, readFileSync(path, 'latin1').replace('"version":"1"', '"version":"2"'), 'latin1')
  assert.match(
    run('--resume other').output,
    /of version 2, but this program reads version 1\. Update the program/,
  )
})

test('a diverging run reports the step and the layer, and saves finite weights', () => {
  // Without momentum, clipping and ε, every weight changes by 1 in each step.
  const wild = '--learning-rate 1 --beta1 0 --beta2 0 --eps 1e-30 --clip-norm 0 --warmup 0'
  const { status, output } = run(`${tiny} ${wild} --steps 1000 --checkpoint-every 1000 --out wild`)
  assert.equal(status, 1, output)
  const [, step] = /Training stopped at step (\d+): loss /.exec(output) ?? []
  assert.match(
    output,
    /\nThe first non-finite value is in the (forward pass, after|backward pass, in the gradient of) \w[\w.]+\w[.;]/,
  )
  assert.match(output, /The last good checkpoint is wild\//)
  const { checkpoint } = openCheckpoint(join(folder, 'wild'))
  assert.equal(checkpoint.progress.step, Number(step) - 1)
  assert.ok(Object.values(checkpoint.state).every((values) => values.every(Number.isFinite)))
})
