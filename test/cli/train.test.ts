import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import sharp from 'sharp'
import { shapes } from '../../trainer/src/data/shapes-dataset.ts'
import { createOnnxruntimeEngine } from '../../trainer/src/engines/onnxruntime.ts'
import { initialize, layoutOf, tablesOf } from '../../trainer/src/network/parameters.ts'
import { defaultUNet, parameterSpecs } from '../../trainer/src/network/unet.ts'
import { dropMasks } from '../../trainer/src/objective/dropout.ts'
import { listCheckpoints, saveCheckpoint } from '../../trainer/src/run/checkpoint.ts'
import { recipes } from '../../trainer/src/run/recipes.ts'
import { openCheckpoint } from '../../trainer/src/run/run.ts'
import { decodeSafetensors } from '../../trainer/src/run/safetensors.ts'
import { initialState } from '../../trainer/src/step/engine.ts'
import { batchMaker } from '../../trainer/src/training/batches.ts'
import { learningRateAt, NotFinite, train } from '../../trainer/src/training/loop.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-training-'))
after(() => rmSync(folder, { recursive: true }))

const script = fileURLToPath(new URL('../../trainer/src/commands/train.ts', import.meta.url))
const tiny = [
  ...[
    '--data',
    'shapes:64',
    '--base-channels',
    '8',
    '--channel-multiples',
    '1,1',
    '--attention',
    'false,true',
  ],
  ...[
    '--batch-size',
    '4',
    '--dropout',
    '0.1',
    '--warmup',
    '2',
    '--sample-every',
    '100',
    '--threads',
    '1',
    '--device',
    'cpu',
  ],
]

/** Runs `npm run train` as a person would. */
function trainCommand(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

/** A checkpoint's tensors and progress, without the wall time. */
function essence(run: string) {
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

/** Six steps, with all that is random. */
const six = [
  ...tiny,
  ...['--steps', '6', '--checkpoint-every', '3', '--validate-every', '2'],
  ...['--accumulate', '2', '--flip', 'true', '--label-dropout', '0.3'],
]

suite('npm run train', () => {
  test('a run that was stopped and resumed ends bit for bit as one that was not', () => {
    const through = trainCommand(...six, '--out', 'whole')
    assert.equal(through.status, 0, through.output)
    // The cosine schedule knows the number of steps: the stopped run is made from the whole one's middle.
    const [middle] = listCheckpoints(join(folder, 'whole'))
    const config = readFileSync(join(folder, 'whole/config.json'))
    const metrics = readFileSync(join(folder, 'whole/metrics.jsonl'), 'utf8')
    const half = join(folder, 'half')
    const { run, checkpoint } = openCheckpoint(middle!)
    saveCheckpoint(half, layoutOf(parameterSpecs(networkConfig(run.config.recipe))), checkpoint)
    writeFileSync(join(half, 'config.json'), config)
    writeFileSync(join(half, 'metrics.jsonl'), metrics)

    const resumed = trainCommand('--resume', 'half', '--threads', '1', '--device', 'cpu')
    assert.equal(resumed.status, 0, resumed.output)
    assert.deepEqual(essence('half'), essence('whole'))
    const lines = (name: string) =>
      readFileSync(join(folder, name, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => ({ ...JSON.parse(line), imagesPerSecond: 0, dataWait: 0 }))
    assert.deepEqual(lines('half'), lines('whole'))
  })

  test('the same command makes the same bytes', () => {
    const again = trainCommand(...six, '--out', 'again')
    assert.equal(again.status, 0, again.output)
    assert.deepEqual(essence('again'), essence('whole'))
  })

  test('pictures that memory does not hold train the same; one that goes meanwhile stops it, saved', async (t) => {
    const images = join(folder, 'pictures')
    mkdirSync(images)
    for (let i = 0; i < 40; i++) {
      const background = { r: (i * 67) % 256, g: (i * 29) % 256, b: (i * 101) % 256 }
      const file = join(images, `${String(i).padStart(2, '0')}.png`)
      await sharp({ create: { width: 20, height: 20, channels: 3, background } }).toFile(file)
    }
    const args = [...six, '--data', 'pictures', '--size', '8', '--flip', 'true']
    const inMemory = trainCommand(...args, '--out', 'in-memory')
    assert.equal(inMemory.status, 0, inMemory.output)
    const few = trainCommand(...args, '--out', 'few', '--cache', '2kB')
    assert.equal(few.status, 0, few.output)
    assert.match(few.output, /10 of the 40 pictures are held in memory, 1\.9 kB; the others are decoded/)
    assert.deepEqual(essence('few'), essence('in-memory'))

    const child = spawn(
      process.execPath,
      [script, ...args, '--steps', '100000', '--out', 'gone', '--cache', '0'],
      { cwd: folder },
    )
    t.after(() => child.kill('SIGKILL'))
    let output = ''
    child.stderr.on('data', (text) => {
      output += text
    })
    while (listCheckpoints(join(folder, 'gone')).length === 0 && child.exitCode === null) await setTimeout(20)
    rmSync(join(images, '07.png'))
    const [status] = await once(child, 'close')
    assert.equal(status, 1)
    assert.match(output, /Cannot read 07\.png in pictures \(.*ENOENT.*Put it back as it was\.\n/)
    const [, step] =
      /The last good checkpoint is gone\/checkpoints\/step-0*(\d+).*Go on with: .*--resume gone/.exec(output)!
    assert.equal(essence('gone').progress.step, Number(step))
    const lines = readFileSync(join(folder, 'gone/metrics.jsonl'), 'utf8').trim().split('\n')
    assert.equal(JSON.parse(lines.at(-1)!).step, Number(step))
  })

  test('a finished run says so; a begun one is not overwritten', () => {
    assert.match(trainCommand('--resume', 'whole').output, /whole is trained: 6 of 6 steps/)
    const again = trainCommand(...tiny, '--out', 'whole')
    assert.equal(again.status, 1)
    assert.match(again.output, /whole is there already.*--resume whole/)
  })

  for (const [name, args, message] of [
    [
      'unknown recipe',
      ['--recipe', 'cats'],
      /recipe "cats"; expected one of shapes, mnist, cifar10, seed64, images/,
    ],
    ['not a number', ['--steps', 'many'], /--steps: Found "many"; expected a whole number/],
    ['impossible number', ['--learning-rate', '-1'], /learningRate -1/],
    ['impossible schedule', ['--beta-start', '0'], /Invalid β at timestep 0: .* got 0\. Check betaStart/],
    ['no port', ['--dashboard', '99999'], /dashboard.* Expected a whole number from 0 to 65535/],
    ['no threads', ['--threads', '0'], /threads.* Expected a whole number from 1/],
    ['no size', ['--cache', 'much'], /cache.* Expected a size such as 500MB/],
    [
      'step that no memory holds',
      ['--data', 'shapes:8', '--batch-size', '65536'],
      /A step takes at least [\d.]+ [GT]B of memory, but only .* --accumulate/,
    ],
    ['unknown option', ['--stepz', '5'], /unknown option '--stepz'/],
    ['no such folder', ['--data', 'nowhere'], /no file or folder nowhere/],
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
    ['nothing to resume', ['--resume', 'nowhere'], /no training run in nowhere/],
    [
      'uneven micro-batches',
      ['--batch-size', '8', '--accumulate', '3'],
      /accumulate 3; expected a divisor of batchSize 8/,
    ],
    [
      'resume with another recipe',
      ['--resume', 'whole', '--batch-size', '8'],
      /batchSize: found 8, expected 4\n/,
    ],
    [
      'unwritable place',
      ['--data', 'shapes:8', '--out', 'whole/config.json/run'],
      /Cannot write whole\/config/,
    ],
  ] as const) {
    test(`bad input: ${name}`, () => {
      const { status, output } = trainCommand(...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
      assert.doesNotMatch(output, /\n\s+at /)
      assert.ok(!existsSync(join(folder, 'runs')))
    })
  }
})

function networkConfig(recipe: { baseChannels: number }) {
  return {
    ...defaultUNet,
    baseChannels: recipe.baseChannels,
    channelMultiples: [1, 1],
    attention: [false, true],
    numResBlocks: 1,
    classes: shapes(1, 0).classes.length,
  }
}

test('dropout masks are exact in probability, scaled to keep the mean, and anew in every step', () => {
  for (const probability of [0.1, 0.25, 0.5]) {
    const [first, second] = [0, 1].map((step) => {
      const out = new Float32Array(1e6)
      dropMasks(7, step, probability, out)
      return out
    }) as [Float32Array, Float32Array]
    const kept = Math.fround(1 / (1 - probability))
    const dropped = (mask: Float32Array) => mask.filter((value) => value === 0).length
    assert.ok(first.every((value) => value === 0 || value === kept))
    const deviation = Math.sqrt(probability * (1 - probability) * 1e6)
    assert.ok(
      Math.abs(dropped(first) - probability * 1e6) < 4 * deviation,
      `${dropped(first)} at ${probability}`,
    )
    // Neighbours share a word, steps a seed: they are independent all the same.
    const both = (a: Float32Array, b: Float32Array) =>
      a.filter((value, i) => value === 0 && b[i] === 0).length
    for (const other of [second, first.subarray(1), first.subarray(4)]) {
      const expected = probability ** 2 * 1e6
      assert.ok(Math.abs(both(first, other) - expected) < 5 * Math.sqrt(expected))
    }
  }
})

test('batches: x_t and the target as the equations have them, classes dropped as often as asked', () => {
  const dataset = shapes(32, 0)
  const schedule = createSchedule(paperSchedule)
  const config = { ...defaultUNet, dropout: 0.25, classes: dataset.classes.length }
  const options = { ...recipes['shapes']!, batchSize: 16, labelDropout: 0.3, predictionType: 'v' as const }
  const batchAt = batchMaker(dataset, schedule, config, options)

  const seen = { times: new Set<number>(), unlabelled: 0, dropped: 0, masks: 0 }
  for (let step = 0; step < 60; step++) {
    const { timestep, label, coefficients, dropout } = batchAt(step)
    timestep.forEach((t, i) => {
      seen.times.add(t)
      const alphaBar = schedule.alphasCumprod[t]!
      const wanted = [
        Math.sqrt(alphaBar),
        Math.sqrt(1 - alphaBar),
        -Math.sqrt(1 - alphaBar),
        Math.sqrt(alphaBar),
        1,
      ]
      wanted.forEach((value, k) => {
        assert.ok(Math.abs(coefficients[i * 5 + k]! - value) < 1e-6)
      })
      if (label![i] === dataset.classes.length) seen.unlabelled += 1
    })
    seen.dropped += dropout!.filter((mask) => mask === 0).length
    seen.masks += dropout!.length
    assert.ok(dropout!.every((mask) => mask === 0 || Math.abs(mask - 4 / 3) < 1e-6))
  }
  const count = 960
  assert.ok(Math.abs(seen.unlabelled / count - 0.3) < 4 * Math.sqrt(0.21 / count))
  assert.ok(Math.abs(seen.dropped / seen.masks - 0.25) < 4 * Math.sqrt(0.1875 / seen.masks))
  assert.ok(Math.min(...seen.times) < 20 && Math.max(...seen.times) > 980)

  // Two steps of 16 are one epoch of 32: every picture once.
  const first = batchAt(0).x0.slice()
  const images = [first, batchAt(1).x0].flatMap((x0) =>
    Array.from({ length: 16 }, (_, i) => String(x0.subarray(i * 3072, (i + 1) * 3072))),
  )
  assert.equal(new Set(images).size, 32)
  assert.deepEqual([...batchAt(0).x0], [...first])
})

test('a step cut into micro-batches is the same step, but for rounding', async () => {
  const dataset = shapes(32, 0)
  // Biases before a norm have a gradient of 0 but for rounding, which Adam with a small ε would blow up.
  const recipe = {
    ...recipes['shapes']!,
    baseChannels: 8,
    batchSize: 8,
    steps: 3,
    warmup: 0,
    clipNorm: 0.5,
    eps: 1e-4,
  }
  const config = { ...networkConfig(recipe), dropout: 0.2 }
  const layout = layoutOf(parameterSpecs(config))
  const trained = async (accumulate: number) => {
    const spec = {
      unet: config,
      batch: 8 / accumulate,
      accumulate,
      height: 32,
      width: 32,
      adam: recipe,
      clipNorm: 0.5,
      eps: 1e-4,
    }
    const start = initialize(layout, 0)
    const engine = await createOnnxruntimeEngine(spec, tablesOf(layout), initialState(start.slice()), {
      threads: 1,
    })
    const reports: number[] = []
    await train(
      engine,
      dataset,
      config,
      { ...recipe, accumulate },
      {
        from: 0,
        onStep({ loss, gradientNorm }) {
          reports.push(loss, gradientNorm)
          return false
        },
      },
    )
    const end = (await engine.state()).ema.map((value, i) => value - start[i]!)
    await engine.dispose()
    return { reports, end }
  }
  const whole = await trained(1)
  for (const accumulate of [2, 8]) {
    const cut = await trained(accumulate)
    cut.reports.forEach((value, i) => {
      assert.ok(Math.abs(value / whole.reports[i]! - 1) < 1e-5, `report ${i}: ${value}, ${whole.reports[i]}`)
    })
    const error = Math.hypot(...cut.end.map((value, i) => value - whole.end[i]!)) / Math.hypot(...whole.end)
    assert.ok(error < 1e-3, `the way of the parameters differs by ${error}`)
  }
})

test('the learning rate rises, then falls along half a cosine', () => {
  const recipe = { ...recipes['shapes']!, learningRate: 1, warmup: 10, steps: 110 }
  const at = (step: number) => learningRateAt(recipe, step)
  assert.ok(Math.abs(at(0) - 0.1) < 1e-12 && Math.abs(at(9) - 1) < 1e-12)
  assert.ok(Math.abs(at(10) - 1) < 1e-12 && Math.abs(at(60) - 0.5) < 1e-12 && at(109) < 1e-3)
  assert.equal(learningRateAt({ ...recipe, learningRateSchedule: 'constant' }, 109), 1)
})

test('a loss that is not finite stops training and leaves the state as it was before the step', async () => {
  const dataset = shapes(8, 0)
  const recipe = {
    ...recipes['shapes']!,
    baseChannels: 8,
    batchSize: 2,
    steps: 3,
    warmup: 0,
    learningRate: 1e-3,
  }
  const config = { ...networkConfig(recipe), dropout: 0 }
  const layout = layoutOf(parameterSpecs(config))
  const spec = { unet: config, batch: 2, height: 32, width: 32, adam: recipe, clipNorm: 1 }
  const engine = await createOnnxruntimeEngine(spec, tablesOf(layout), initialState(initialize(layout, 0)))
  let before: Float32Array | null = null
  const training = train(engine, dataset, config, recipe, {
    from: 0,
    async onStep({ step }) {
      if (step === 2) {
        const { parameters, secondMoment } = await engine.state()
        before = parameters.slice()
        // Weights beyond float32's range of squares: the next gradient overflows.
        secondMoment.fill(Number.NaN)
        parameters[0] = Number.NaN
        before[0] = Number.NaN
      }
      return false
    },
  })
  await assert.rejects(training, (error) => error instanceof NotFinite && error.step === 3)
  assert.deepEqual([...(await engine.state()).parameters], [...before!])
  await engine.dispose()
})
