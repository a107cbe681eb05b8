import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { createGraph } from '../../trainer/src/algebra/graph.ts'
import { toOnnx } from '../../trainer/src/compile/onnx/model.ts'
import { shapes } from '../../trainer/src/data/shapes/dataset.ts'
import {
  classifierTraining,
  openClassifier,
  specOf,
  trainClassifier,
  tryClassifier,
} from '../../trainer/src/evaluation/classifier.ts'
import { openExtractor } from '../../trainer/src/evaluation/extractor.ts'
import { factorDistances, readShapes, totalVariation } from '../../trainer/src/evaluation/factors.ts'
import { chooseImages } from '../../trainer/src/evaluation/images.ts'
import { nearestRows } from '../../trainer/src/evaluation/metrics/neighbours.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-quality-'))
after(() => rmSync(folder, { recursive: true }))

function close(found: number, wanted: number, tolerance: number): void {
  assert.ok(Math.abs(found - wanted) <= tolerance, `${found}, not ${wanted}`)
}

suite('a feature extractor of one’s own', () => {
  /** An ONNX file whose features are sums over 4×4 pixels, the channels weighing 1, 10 and 100. */
  function extractorFile(name: string, channels: number, batch: number | 'N', pool: boolean): string {
    const { ops, input } = createGraph()
    const x = input('pixels', [batch, channels, 4, 4])
    const weights = Array.from({ length: 2 * channels * 16 }, (_, i) =>
      i < channels * 16 ? 10 ** Math.floor(i / 16) : 0.5,
    )
    const kernel = ops.constant(weights, [2, channels, 4, 4])
    const sums = ops.conv2d(x, kernel, null, { stride: 1, padding: [0, 0, 0, 0] })
    const output = pool ? ops.reshape(sums, [batch, 2]) : sums
    const path = join(folder, name)
    writeFileSync(path, toOnnx({ first: output, second: ops.scale(output, 2) }, { dialect: 'standard' }))
    return path
  }
  /** Pictures of 2×2 pixels, each of one colour. */
  const plain = (colours: readonly (readonly number[])[]) => ({
    channels: colours[0]!.length,
    height: 2,
    width: 2,
    pixels: Uint8Array.from(colours.flatMap((colour) => colour.flatMap((byte) => [byte, byte, byte, byte]))),
  })
  const preparation = { size: 4, mean: [0.5, 0, 0.25], std: [0.5, 1, 2] }

  test('pictures are scaled and brought to mean and std per channel, in the order of the channels', async () => {
    const extractor = await openExtractor(extractorFile('rgb.onnx', 3, 'N', true), preparation, null)
    const { values, dims, count } = await extractor.extract(
      plain([
        [255, 0, 51],
        [0, 102, 255],
      ]),
    )
    await extractor.dispose()
    assert.deepEqual([count, dims], [2, 2])
    const sum = (r: number, g: number, b: number) => [16 * (r + 10 * g + 100 * b), 8 * (r + g + b)]
    const wanted = [...sum(1, 0, (0.2 - 0.25) / 2), ...sum(-1, 0.4, (1 - 0.25) / 2)]
    values.forEach((value, i) => {
      close(value, wanted[i]!, 1e-3)
    })
  })

  test('grey is repeated; a fixed batch is filled up; another output is taken by name; pixels are averaged', async () => {
    const path = extractorFile('fixed.onnx', 3, 4, false)
    const extractor = await openExtractor(path, { size: 4, mean: [0], std: [1] }, 'second')
    const greys = [0, 51, 102, 153, 204, 255].map((byte) => [byte])
    const { values, count } = await extractor.extract(plain(greys))
    await extractor.dispose()
    assert.equal(count, 6)
    greys.forEach(([byte], i) => {
      close(values[2 * i]!, (2 * 16 * 111 * byte!) / 255, 1e-2)
    })
  })

  test('what cannot be used is refused with what was found', async () => {
    const open = (path: string, output: string | null = null) => openExtractor(path, preparation, output)
    await assert.rejects(open(join(folder, 'none.onnx')), /Cannot read the extractor/)
    writeFileSync(join(folder, 'text.onnx'), 'text')
    await assert.rejects(open(join(folder, 'text.onnx')), /onnxruntime cannot open/)
    const two = extractorFile('two.onnx', 2, 'N', true)
    await assert.rejects(open(two), /takes pixels \[N,2,4,4\]; expected one input of pictures \[N, 1 or 3/)
    await assert.rejects(
      open(extractorFile('some.onnx', 1, 'N', true), 'third'),
      /no output "third"; it has first, second/,
    )
    const grey = await open(extractorFile('grey.onnx', 1, 'N', true))
    await assert.rejects(grey.extract(plain([[1, 2, 3]])), /takes grey pictures/)
  })
})

test('a classifier learns, and the same way again', async () => {
  const dataset = shapes(320, 5)
  const training = { ...classifierTraining, epochs: 8, batch: 40, learningRate: 4e-3 }
  const losses: number[] = []
  const train = () => trainClassifier(dataset, training, (_, __, loss) => void losses.push(loss))
  const parameters = await train()
  // −log 1/36 at the beginning.
  close(losses[0]!, Math.log(36), 0.3)
  const classifier = await openClassifier(specOf(dataset), parameters)
  const { accuracy } = await tryClassifier(classifier, shapes(200, 6))
  assert.ok(accuracy > 0.5, `${accuracy} of figures it has not seen`)
  await classifier.dispose()
  assert.deepEqual(await train(), parameters)
})

suite('factors of the built-in shapes', () => {
  test('total variation', () => {
    assert.equal(totalVariation([1, 1], [5, 5]), 0)
    assert.equal(totalVariation([3, 0], [0, 7]), 1)
    assert.equal(totalVariation([3, 1], [1, 1]), 0.25)
  })

  test('pictures of the set are at the distance of chance; a missing colour, a shift and spoiled ones show', async () => {
    const data = (await readShapes(shapes(120, 1).pixels)).shapes
    const drawn = await readShapes(shapes(80, 2).pixels)
    assert.equal(drawn.shapes.length, 80)
    for (const { factor, distance, chance } of factorDistances(data, drawn.shapes, 0)) {
      assert.ok(distance < 2 * chance, `${factor}: ${distance}, by chance ${chance}`)
    }
    const distanceOf = (shapes: typeof data, factor: string) =>
      factorDistances(data, shapes, 0).find((one) => one.factor === factor)!.distance
    const reds = drawn.shapes.filter(({ colour }) => colour === 'red')
    const share = data.filter(({ colour }) => colour === 'red').length / data.length
    close(distanceOf(reds, 'colour'), 1 - share, 1e-12)
    const moved = drawn.shapes.map((shape) => ({ ...shape, x: shape.x + 5 }))
    assert.equal(distanceOf(moved, 'x'), 1)

    const spoiled = shapes(4, 3).pixels
    spoiled.fill(0, 0, 3072)
    const { shapes: left, rejected } = await readShapes(spoiled)
    assert.equal(left.length, 3)
    assert.deepEqual(Object.values(rejected), [1])
  })
})

test('the nearest row, found again behind a little noise', () => {
  const among = { count: 50, dims: 3, values: Float32Array.from({ length: 150 }, (_, i) => Math.sin(i * 7)) }
  const asked = { count: 2, dims: 3, values: Float32Array.of(...among.values.slice(60, 63), 9, 9, 9) }
  asked.values[0]! += 0.01
  const [first] = nearestRows(asked, among)
  assert.equal(first!.index, 20)
  close(first!.distance, 0.01, 1e-6)
})

test('real pictures are chosen at random, each once; what comes later is what was left out', () => {
  const dataset = shapes(20, 1)
  const keyOf = (pixels: Uint8Array) =>
    Array.from({ length: pixels.length / 3072 }, (_, i) => String(pixels.subarray(i * 3072, (i + 1) * 3072)))
  const [some, others] = [chooseImages(dataset, 12, 3), chooseImages(dataset, 8, 3, 12)]
  assert.deepEqual([...keyOf(some.pixels), ...keyOf(others.pixels)].sort(), keyOf(dataset.pixels).sort())
  assert.notDeepEqual(keyOf(some.pixels), keyOf(dataset.pixels).slice(0, 12))
})

suite('npm run evaluate', () => {
  const script = (name: string) =>
    fileURLToPath(new URL(`../../trainer/src/commands/${name}.ts`, import.meta.url))
  const run = (name: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script(name), ...args], {
      cwd: folder,
      encoding: 'utf8',
    })
    return { status, output: stdout + stderr }
  }
  const evaluate = (...args: string[]) => {
    const { status, output } = run('evaluate', ...args)
    assert.equal(status, 0, output)
    return output
  }
  const kept = (beginning: string) =>
    readdirSync(join(folder, 'runs/tiny/evaluation')).filter((name) => name.startsWith(beginning))
  const keptPath = (name: string) => join(folder, 'runs/tiny/evaluation', name)

  before(() => {
    const network = ['--base-channels', '8', '--channel-multiples', '1,1', '--attention', 'false,true']
    const brief = [
      '--steps',
      '4',
      '--batch-size',
      '4',
      '--sample-every',
      '100',
      '--device',
      'cpu',
      '--threads',
      '1',
    ]
    const trained = run(
      'train',
      ...['--data', 'shapes:96', '--out', 'runs/tiny', '--variance-type', 'learnedRange'],
      ...[...network, ...brief],
    )
    assert.equal(trained.status, 0, trained.output)
  })

  const drawing = [
    'runs/tiny',
    '--sampler',
    'ddim',
    '--steps',
    '2',
    '--count',
    '12',
    '--reference',
    '40',
    '--bootstrap',
    '5',
  ]

  test('all that decides the figures stands beside them, in text and JSON; few pictures are warned of', () => {
    const output = evaluate(...drawing)
    assert.match(
      output,
      /Drawn: 12 pictures, ddim, 2 steps \(2 evaluations\), spacing trailing, η 0, guidance 1\.5, seed 0/,
    )
    assert.match(output, /Against: 40 of 91 pictures of shapes:96 \(train\)/)
    assert.match(output, /averaged weights after 4 steps/)
    assert.match(output, /classifier of shapes, \d+\.\d\d % right on the 10 pictures/)
    assert.match(output, /Warning: with 12 pictures FID is biased upwards/)
    assert.match(output, /of 12 \(\d+\.\d %\) read as one clean figure/)
    const [name] = kept('quality-')
    const report = JSON.parse(readFileSync(keptPath(name!), 'utf8'))
    assert.deepEqual(
      { ...report.drawn, weights: report.model.weights, split: report.reference.split },
      {
        ...{
          count: 12,
          sampler: 'ddim',
          steps: 2,
          evaluations: 2,
          spacing: 'trailing',
          eta: 0,
          guidance: 1.5,
          className: null,
        },
        ...{ seed: 0, weights: 'ema', split: 'train' },
      },
    )
    const found = /FID +(\S+) ± (\S+)/.exec(output)!
    assert.equal(found[1], report.scores.fid.value.toFixed(3))
    assert.equal(found[2], report.scores.fid.halfWidth.toFixed(3))
  })

  test('pictures are drawn once; what a killed process left of one is drawn again', () => {
    const [drawn] = kept('drawn-')
    const path = keptPath(drawn!)
    const bytes = readFileSync(path)
    assert.equal(bytes.length, 12 * 3072)
    writeFileSync(path, bytes.subarray(0, 5 * 3072))
    appendFileSync(path, new Uint8Array(100))
    evaluate(...drawing)
    const again = readFileSync(path)
    // In another batch, other roundings: bytes may differ by one.
    assert.ok(again.every((byte, i) => Math.abs(byte - bytes[i]!) <= 1) && again.length === bytes.length)
    const { mtimeMs } = statSync(path)
    evaluate(...drawing, '--nearest', '3')
    assert.deepEqual([kept('drawn-').length, kept('quality-').length], [1, 2])
    assert.equal(statSync(path).size, bytes.length)
    assert.ok(statSync(path).mtimeMs >= mtimeMs)
  })

  test('--neighbours: drawn pictures with the nearest real ones below', async () => {
    evaluate('runs/tiny', '--sampler', 'ddim', '--steps', '2', '--neighbours', '3')
    const { width, height } = await sharp(keptPath('neighbours.png')).metadata()
    assert.deepEqual([width, height], [3 * 66 + 2, 3 * 66 + 2])
  })

  test('likelihood: term by term, with learned variances where there are any; done once', () => {
    const asked = ['likelihood', 'runs/tiny', '--pictures', '4', '--terms', '5']
    const output = evaluate(...asked)
    assert.match(output, /variances learnedRange/)
    assert.match(
      output,
      /4 of 5 pictures of shapes:96 \(validation\), each told its class; 5 of 1000 timesteps each/,
    )
    const [, figure] = /([\d.]+) bits\/dim ± [\d.]+ \(standard error over 4 pictures\)/.exec(output)!
    const [name] = kept('likelihood-').filter((name) => name.endsWith('.json'))
    const { total, terms } = JSON.parse(readFileSync(keptPath(name!), 'utf8'))
    assert.equal(total.mean.toFixed(4), figure)
    assert.equal(terms.length, 1000)
    assert.match(
      readFileSync(keptPath(name!.replace('json', 'svg')), 'utf8'),
      /^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/,
    )
    assert.ok(evaluate(...asked).includes(`${figure} bits/dim`))
    const others = evaluate(...asked, '--data', 'shapes:7', '--seed', '3', '--weights', 'raw')
    assert.match(others, /raw weights.*\n4 of 7 pictures of shapes:7 \(all\).*seed 3/)
    assert.ok(!evaluate(...asked, '--variance', 'fixedLarge', '--no-class').includes(`${figure} bits/dim`))
  })

  test('likelihood: Ctrl+C keeps what is done, and the same command ends where one that was not stopped ends', async () => {
    const measuring = ['likelihood', 'runs/tiny', '--pictures', '5', '--terms', '60']
    const child = spawn(process.execPath, [script('evaluate'), ...measuring], { cwd: folder })
    let output = ''
    let asked = false
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    child.stdout.on('data', (text) => {
      output += text
      if (asked || !/60 of 1000 timesteps each/.test(output)) return
      asked = true
      setTimeout(() => child.kill('SIGINT'), 200)
    })
    assert.equal(await ended, 130, output)
    const [, done] = /Stopped at (\d) of 5 pictures, which are kept/.exec(output)!
    assert.ok(Number(done) > 0 && Number(done) < 5)
    const figures = (...more: string[]) => /[\d.]+ bits\/dim.*\n.*/.exec(evaluate(...measuring, ...more))![0]
    assert.equal(figures(), figures('--out', 'runs/unstopped'))
  })

  test('bench:quality: a table and a chart, each cell measured once', () => {
    const bench = (...steps: string[]) => {
      const asked = [
        'runs/tiny',
        '--samplers',
        'ddim,heun',
        '--count',
        '8',
        '--reference',
        '30',
        '--steps',
        ...steps,
      ]
      const { status, output } = run('../../../bench/quality', ...asked)
      assert.equal(status, 0, output)
      return output
    }
    const rowOf = (line: string) => line.split('|').map((cell) => cell.trim())
    const table = () =>
      readFileSync(keptPath('quality-by-steps.md'), 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('|'))
        .map(rowOf)
    assert.match(bench('2'), /Drawing|ddim, 2 steps/)
    const first = table()
    assert.deepEqual(
      first.map(([, sampler, steps, evaluations]) => [sampler, steps, evaluations]).filter((_, i) => i !== 1),
      [
        ['sampler', 'steps', 'evaluations'],
        ['ddim', '2', '2'],
        ['heun', '2', '3'],
        ['real pictures', '', ''],
      ],
    )
    const cells = kept('cell-')
    const times = cells.map((name) => statSync(keptPath(name)).mtimeMs)
    bench('2,3')
    assert.deepEqual(
      cells.map((name) => statSync(keptPath(name)).mtimeMs),
      times,
    )
    const second = table()
    assert.equal(second.length, first.length + 2)
    assert.deepEqual(
      second.find(([, sampler, steps]) => sampler === 'heun' && steps === '2'),
      first[3],
    )
    const chart = readFileSync(keptPath('quality-by-steps.svg'), 'utf8')
    for (const label of ['ddim', 'heun', 'real pictures'])
      assert.ok(chart.includes(`>${label}</text>`), label)
  })

  for (const [what, args, message] of [
    ['no model', ['nowhere'], /There is no nowhere/],
    [
      'other pictures',
      ['runs/tiny', '--data', 'shapes:3', '--split', 'half'],
      /expected train, validation, all/,
    ],
    ['k of 0', ['runs/tiny', '--nearest', '0'], /Found --nearest 0; expected a whole number of at least 1/],
    ['too few of them', ['runs/tiny', '--data', 'shapes:3'], /3 to hold them to; expected more than 5/],
    [
      'too many terms',
      ['likelihood', 'runs/tiny', '--terms', '1001'],
      /Found 1001 terms; expected from 2 to 1000/,
    ],
    [
      'too many pictures',
      ['likelihood', 'runs/tiny', '--pictures', '6'],
      /Found 6 pictures; expected from 1 to 5/,
    ],
  ] as const) {
    test(`refuses ${what}`, () => {
      const { status, output } = run('evaluate', ...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
      assert.doesNotMatch(output, /\n\s+at /)
    })
  }
})
