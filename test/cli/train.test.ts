import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { listCheckpoints, saveCheckpoint } from '../../trainer/src/run/checkpoint.ts'
import { layoutOfRun, openCheckpoint } from '../../trainer/src/run/run.ts'
import { decodeSafetensors } from '../../trainer/src/run/safetensors.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-training-'))
after(() => rmSync(folder, { recursive: true }))

const script = fileURLToPath(new URL('../../trainer/src/commands/train.ts', import.meta.url))
const tiny = (
  '--data shapes:64 --base-channels 8 --channel-multiples 1,1 --attention false,true --batch-size 4 --dropout 0.1 ' +
  '--warmup 2 --sample-every 100 --threads 1 --device cpu'
).split(' ')

/** Runs `npm run train`. */
function trainCommand(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

/** Returns the tensors and the progress of the newest checkpoint, without the wall time. */
function newestCheckpoint(run: string) {
  const { tensors, metadata } = decodeSafetensors(
    readFileSync(listCheckpoints(join(folder, run)).at(-1)!),
    run,
  )
  const { seconds: _, ...progress } = JSON.parse(metadata['progress']!)
  return {
    progress,
    tensors: new Map(
      [...tensors].map(([name, { data }]) => [name, Buffer.from(data.buffer).toString('hex')]),
    ),
  }
}

/** Six steps with every source of randomness. */
const sixSteps = [
  ...tiny,
  ...'--steps 6 --checkpoint-every 3 --validate-every 2 --accumulate 2 --flip true --label-dropout 0.3'.split(
    ' ',
  ),
]

suite('npm run train', () => {
  test('a resumed run ends bit-identical to an uninterrupted one', () => {
    const through = trainCommand(...sixSteps, '--out', 'whole')
    assert.equal(through.status, 0, through.output)
    // The cosine schedule depends on the number of steps, so the stopped run is built from the middle of the whole one.
    const [middle] = listCheckpoints(join(folder, 'whole'))
    const config = readFileSync(join(folder, 'whole/config.json'))
    const metrics = readFileSync(join(folder, 'whole/metrics.jsonl'), 'utf8')
    const half = join(folder, 'half')
    const { run, checkpoint } = openCheckpoint(middle!)
    saveCheckpoint(half, layoutOfRun(run.config), checkpoint)
    writeFileSync(join(half, 'config.json'), config)
    writeFileSync(join(half, 'metrics.jsonl'), metrics)

    const resumed = trainCommand('--resume', 'half', '--threads', '1', '--device', 'cpu')
    assert.equal(resumed.status, 0, resumed.output)
    assert.deepEqual(newestCheckpoint('half'), newestCheckpoint('whole'))
    const lines = (name: string) =>
      readFileSync(join(folder, name, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => ({ ...JSON.parse(line), imagesPerSecond: 0, dataWait: 0 }))
    assert.deepEqual(lines('half'), lines('whole'))
  })

  test('the same command gives the same bytes', () => {
    const again = trainCommand(...sixSteps, '--out', 'again')
    assert.equal(again.status, 0, again.output)
    assert.deepEqual(newestCheckpoint('again'), newestCheckpoint('whole'))
  })

  test('a dry run writes a contact sheet, counts the classes, measures the cost and trains nothing', async () => {
    for (const [i, name] of ['cats/a.png', 'cats/b.png', 'dogs/c.png', 'dogs/d.png'].entries()) {
      mkdirSync(join(folder, 'pets', dirname(name)), { recursive: true })
      const background = { r: 60 * i, g: 99, b: 30 }
      await sharp({ create: { width: 16, height: 16, channels: 3, background } }).toFile(
        join(folder, 'pets', name),
      )
    }
    const args = [...sixSteps, '--data', 'pets', '--size', '8x12', '--out', 'never', '--dry-run', 'sheet.png']
    const { status, output } = trainCommand(...args)
    assert.equal(status, 0, output)
    assert.match(
      output,
      /Images of pets at 8×12, RGB: 3 for training, 1 for validation\n {2}cats {2}2\n {2}dogs {2}2\n/,
    )
    assert.match(output, /3 steps measured: \d+ ms each.*Nothing was trained/s)
    // Two rows of two images of 8×12 with gaps of 2 pixels.
    const sheet = await sharp(join(folder, 'sheet.png')).metadata()
    assert.deepEqual([sheet.width, sheet.height], [22, 30])
    assert.equal(existsSync(join(folder, 'never')), false)
  })

  test('training is the same with uncached images; a deleted image stops the run, which is saved', async (t) => {
    const images = join(folder, 'images')
    mkdirSync(images)
    for (let i = 0; i < 40; i++) {
      const background = { r: (i * 67) % 256, g: (i * 29) % 256, b: (i * 101) % 256 }
      const file = join(images, `${String(i).padStart(2, '0')}.png`)
      await sharp({ create: { width: 20, height: 20, channels: 3, background } }).toFile(file)
    }
    const args = [...sixSteps, '--data', 'images', '--size', '8', '--flip', 'true']
    const inMemory = trainCommand(...args, '--out', 'in-memory')
    assert.equal(inMemory.status, 0, inMemory.output)
    const few = trainCommand(...args, '--out', 'few', '--cache', '2kB')
    assert.equal(few.status, 0, few.output)
    assert.match(few.output, /10 of the 40 images are cached in memory \(1\.9 kB\)\. The others are decoded/)
    assert.deepEqual(newestCheckpoint('few'), newestCheckpoint('in-memory'))

    const child = spawn(
      process.execPath,
      [script, ...args, '--steps', '100000', '--out', 'interrupted', '--cache', '0'],
      { cwd: folder },
    )
    t.after(() => child.kill('SIGKILL'))
    let output = ''
    child.stderr.on('data', (text) => {
      output += text
    })
    while (listCheckpoints(join(folder, 'interrupted')).length === 0 && child.exitCode === null)
      await setTimeout(20)
    rmSync(join(images, '07.png'))
    const [status] = await once(child, 'close')
    assert.equal(status, 1)
    assert.match(output, /Cannot read images\/07\.png: ENOENT.*Restore it\.\n/)
    const [, step] =
      /The last good checkpoint is interrupted\/checkpoints\/step-0*(\d+).*To resume: .*--resume interrupted/.exec(
        output,
      )!
    assert.equal(newestCheckpoint('interrupted').progress.step, Number(step))
    const lines = readFileSync(join(folder, 'interrupted/metrics.jsonl'), 'utf8').trim().split('\n')
    assert.equal(JSON.parse(lines.at(-1)!).step, Number(step))
  })

  test('a finished run is not trained again, and an existing run is not overwritten', () => {
    assert.match(trainCommand('--resume', 'whole').output, /whole is finished: 6 of 6 steps/)
    const again = trainCommand(...tiny, '--out', 'whole')
    assert.equal(again.status, 1)
    assert.match(again.output, /whole already exists.*--resume whole/)
  })

  for (const [name, args, message] of [
    [
      'unknown recipe',
      ['--recipe', 'cats'],
      /Unknown recipe "cats": expected shapes, faces, mnist, cifar10, seed64 or images/,
    ],
    ['text for a number', ['--steps', 'many'], /Invalid --steps "many": expected an integer/],
    [
      'number out of bounds',
      ['--learning-rate', '-1'],
      /Invalid --learning-rate "-1": expected a number from/,
    ],
    ['invalid noise schedule', ['--beta-start', '0'], /Invalid β at timestep 0: .* got 0\. Check betaStart/],
    ['invalid port', ['--dashboard', '99999'], /dashboard.* Expected a whole number from 0 to 65535/],
    ['invalid threads', ['--threads', '0'], /threads.* Expected a whole number from 1/],
    ['invalid cache size', ['--cache', 'much'], /cache.* Expected a size such as 500MB/],
    [
      'step that does not fit in memory',
      ['--data', 'shapes:8', '--batch-size', '65536'],
      /A step needs at least [\d.]+ [GT]B of memory, but only .* --accumulate/,
    ],
    ['unknown option', ['--stepz', '5'], /unknown option '--stepz'/],
    ['no such folder', ['--data', 'nowhere'], /Cannot find nowhere: no such file or folder/],
    [
      'network that does not fit',
      ['--channel-multiples', '1,2,2,2,2,2,2'],
      /attention .*: expected 7 values/,
    ],
    [
      'no such engine',
      ['--engine', 'torch'],
      /'torch' is invalid. Allowed choices are auto, onnxruntime, tfjs/,
    ],
    ['no run to resume', ['--resume', 'nowhere'], /Cannot find a training run in nowhere/],
    [
      'uneven micro-batches',
      ['--batch-size', '8', '--accumulate', '3'],
      /accumulate 3: expected a divisor of batchSize 8/,
    ],
    [
      'resume with another recipe',
      ['--resume', 'whole', '--batch-size', '8'],
      /batchSize: expected 4, got 8\n/,
    ],
    [
      'unwritable folder',
      ['--data', 'shapes:8', '--out', 'whole/config.json/run'],
      /Cannot write whole\/config/,
    ],
  ] as const) {
    test(`invalid input is rejected: ${name}`, () => {
      const { status, output } = trainCommand(...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
      assert.doesNotMatch(output, /\n\s+at /)
      assert.ok(!existsSync(join(folder, 'runs')))
    })
  }
})
