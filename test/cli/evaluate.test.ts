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

const folder = mkdtempSync(join(tmpdir(), 'ddpm-quality-'))
after(() => rmSync(folder, { recursive: true }))

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
  const outputs = (prefix: string) =>
    readdirSync(join(folder, 'runs/tiny/evaluation')).filter((name) => name.startsWith(prefix))
  const outputPath = (name: string) => join(folder, 'runs/tiny/evaluation', name)

  before(() => {
    const network = ['--base-channels', '8', '--channel-multiples', '1,1', '--attention', 'false,true']
    const training = ['--steps', '4', '--batch-size', '4', '--sample-every', '100', '--device', 'cpu']
    const trained = run(
      'train',
      ...['--data', 'shapes:96', '--out', 'runs/tiny', '--variance-type', 'learnedRange'],
      ...[...network, ...training, '--threads', '1'],
    )
    assert.equal(trained.status, 0, trained.output)
  })

  const counts = ['--count', '12', '--reference', '40', '--bootstrap', '5']
  const settings = ['runs/tiny', '--sampler', 'ddim', '--steps', '2', ...counts]

  test('reports scores with everything that determines them, as text and JSON, and warns about few images', () => {
    const output = evaluate(...settings)
    assert.match(
      output,
      /Generated: 12 images, ddim, 2 steps \(2 evaluations\), spacing trailing, η 0, guidance 1\.5, seed 0/,
    )
    assert.match(output, /Compared with: 40 of 91 images of shapes:96 \(train\)/)
    assert.match(output, /averaged weights after 4 steps/)
    assert.match(output, /classifier of shapes, accuracy \d+\.\d\d % on 10 validation images/)
    assert.match(output, /Warning: with 12 images FID is biased upwards/)
    assert.match(output, /of 12 \(\d+\.\d %\) show one clean figure/)
    const [name] = outputs('quality-')
    const report = JSON.parse(readFileSync(outputPath(name!), 'utf8'))
    assert.deepEqual(
      { ...report.generated, weights: report.model.weights, split: report.reference.split },
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
        ...{
          order: 2,
          varianceType: 'learnedRange',
          epsilon: 'rederived',
          predictionType: 'x0',
          clamp: 1,
        },
        ...{ solver: 'midpoint', curvature: 'exact', variant: 'bh2', uncorrected: [] },
        ...{ lowerOrderFinal: true, eulerAtFinal: false },
      },
    )
    const fid = /FID +(\S+) ± (\S+)/.exec(output)!
    assert.equal(fid[1], report.scores.fid.value.toFixed(3))
    assert.equal(fid[2], report.scores.fid.halfWidth.toFixed(3))
  })

  test('accepts the sampler flags of npm run sample and records the effective options', () => {
    const reportOf = (...args: string[]) => {
      const path = /Wrote the report to (\S+)/.exec(
        evaluate('runs/tiny', '--out', 'runs/flags', '--steps', '2', ...counts, ...args),
      )![1]!
      return JSON.parse(readFileSync(join(folder, path), 'utf8')).generated
    }
    const noisy = reportOf('--sampler', 'ddim', '--eta', 'hat', '--epsilon', 'raw')
    assert.deepEqual([noisy.sampler, noisy.eta, noisy.epsilon], ['ddim', 'hat', 'raw'])
    const solver = reportOf('--sampler', 'unipc', '--order', '3', '--spacing', 'karras')
    assert.deepEqual([solver.sampler, solver.order, solver.spacing], ['unipc', 3, 'karras'])
    const ancestral = reportOf('--sampler', 'ddpm', '--variance', 'fixedLarge')
    assert.deepEqual([ancestral.sampler, ancestral.varianceType], ['ddpm', 'fixedLarge'])
  })

  test('records the default η of the manifest, not that of the sampler', () => {
    const exported = run('export', 'runs/tiny', '--out', 'exported', '--preview', '0')
    assert.equal(exported.status, 0, exported.output)
    const manifestPath = join(folder, 'exported/manifest.json')
    const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'))
    const sampling = { ...manifest.sampling, sampler: 'ddim', steps: 3, eta: 0.5 }
    writeFileSync(manifestPath, JSON.stringify({ ...manifest, sampling }))
    const output = evaluate('exported', '--data', 'shapes:40', ...counts)
    assert.match(output, /ddim, 3 steps \(3 evaluations\), spacing trailing, η 0\.5/)
    const path = /Wrote the report to (\S+)/.exec(output)![1]!
    const { generated } = JSON.parse(readFileSync(join(folder, path), 'utf8'))
    assert.deepEqual([generated.sampler, generated.steps, generated.eta], ['ddim', 3, 0.5])
  })

  test('caches generated images, and regenerates an image that a killed process left incomplete', () => {
    const [samples] = outputs('samples-')
    const path = outputPath(samples!)
    const bytes = readFileSync(path)
    assert.equal(bytes.length, 12 * 3072)
    writeFileSync(path, bytes.subarray(0, 5 * 3072))
    appendFileSync(path, new Uint8Array(100))
    evaluate(...settings)
    const again = readFileSync(path)
    // Another batch size rounds differently: bytes may differ by one.
    assert.ok(again.every((byte, i) => Math.abs(byte - bytes[i]!) <= 1) && again.length === bytes.length)
    const { mtimeMs } = statSync(path)
    evaluate(...settings, '--nearest', '3')
    assert.deepEqual([outputs('samples-').length, outputs('quality-').length], [1, 2])
    assert.equal(statSync(path).size, bytes.length)
    assert.ok(statSync(path).mtimeMs >= mtimeMs)
  })

  test('--neighbours: writes samples above their nearest real images', async () => {
    evaluate('runs/tiny', '--sampler', 'ddim', '--steps', '2', '--neighbours', '3')
    const { width, height } = await sharp(outputPath('neighbours.png')).metadata()
    assert.deepEqual([width, height], [3 * 66 + 2, 3 * 66 + 2])
  })

  test('likelihood: measures every term, uses learned variances, and caches the result', () => {
    const likelihood = ['likelihood', 'runs/tiny', '--images', '4', '--terms', '5']
    const output = evaluate(...likelihood)
    assert.match(output, /variances learnedRange/)
    assert.match(
      output,
      /4 of 5 images of shapes:96 \(validation\), with class labels; 5 of 1000 timesteps each/,
    )
    const [, figure] = /([\d.]+) bits\/dim ± [\d.]+ \(standard error over 4 images\)/.exec(output)!
    const [name] = outputs('likelihood-').filter((name) => name.endsWith('.json'))
    const { total, terms } = JSON.parse(readFileSync(outputPath(name!), 'utf8'))
    assert.equal(total.mean.toFixed(4), figure)
    assert.equal(terms.length, 1000)
    assert.match(
      readFileSync(outputPath(name!.replace('json', 'svg')), 'utf8'),
      /^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/,
    )
    assert.ok(evaluate(...likelihood).includes(`${figure} bits/dim`))
    const others = evaluate(...likelihood, '--data', 'shapes:7', '--seed', '3', '--weights', 'raw')
    assert.match(others, /raw weights.*\n4 of 7 images of shapes:7 \(all\).*seed 3/)
    assert.ok(
      !evaluate(...likelihood, '--variance', 'fixedLarge', '--no-class').includes(`${figure} bits/dim`),
    )
  })

  test('likelihood: resumes after Ctrl+C with the same result as without', async () => {
    // --pictures is the former name of --images.
    const measuring = ['likelihood', 'runs/tiny', '--pictures', '5', '--terms', '60']
    const child = spawn(process.execPath, [script('evaluate'), ...measuring], { cwd: folder })
    let output = ''
    let interrupted = false
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    child.stdout.on('data', (text) => {
      output += text
      if (interrupted || !/60 of 1000 timesteps each/.test(output)) return
      interrupted = true
      setTimeout(() => child.kill('SIGINT'), 200)
    })
    assert.equal(await ended, 130, output)
    const [, done] = /Stopped after (\d) of 5 images, which are saved/.exec(output)!
    assert.ok(Number(done) > 0 && Number(done) < 5)
    const figures = (...more: string[]) => /[\d.]+ bits\/dim.*\n.*/.exec(evaluate(...measuring, ...more))![0]
    assert.equal(figures(), figures('--out', 'runs/unstopped'))
  })

  test('bench:quality: writes a table and a chart, and caches the measured cells', () => {
    const bench = (...steps: string[]) => {
      const counts = ['--count', '8', '--reference', '30']
      const args = ['runs/tiny', '--samplers', 'ddim,heun', ...counts, '--steps', ...steps]
      const { status, output } = run('../../../bench/quality', ...args)
      assert.equal(status, 0, output)
      return output
    }
    const rowOf = (line: string) => line.split('|').map((cell) => cell.trim())
    const table = () =>
      readFileSync(outputPath('quality-by-steps.md'), 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('|'))
        .map(rowOf)
    assert.match(bench('2'), /ddim, 2 steps: FID/)
    const first = table()
    assert.deepEqual(
      first.map(([, sampler, steps, evaluations]) => [sampler, steps, evaluations]).filter((_, i) => i !== 1),
      [
        ['sampler', 'steps', 'evaluations'],
        ['ddim', '2', '2'],
        ['heun', '2', '3'],
        ['real images', '', ''],
      ],
    )
    const cells = outputs('cell-')
    const times = cells.map((name) => statSync(outputPath(name)).mtimeMs)
    bench('2,3')
    assert.deepEqual(
      cells.map((name) => statSync(outputPath(name)).mtimeMs),
      times,
    )
    const second = table()
    assert.equal(second.length, first.length + 2)
    assert.deepEqual(
      second.find(([, sampler, steps]) => sampler === 'heun' && steps === '2'),
      first[3],
    )
    const chart = readFileSync(outputPath('quality-by-steps.svg'), 'utf8')
    for (const label of ['ddim', 'heun', 'real images']) assert.ok(chart.includes(`>${label}</text>`), label)
  })

  for (const [what, args, message] of [
    ['no model', ['nowhere'], /Cannot find nowhere/],
    [
      'an unknown split',
      ['runs/tiny', '--data', 'shapes:3', '--split', 'half'],
      /one of train, validation, all/,
    ],
    ['k of 0', ['runs/tiny', '--nearest', '0'], /Invalid --nearest 0: expected a positive integer/],
    [
      'too few images',
      ['runs/tiny', '--data', 'shapes:3'],
      /expected more than 5 .* got 2000 generated and 3 real images/,
    ],
    [
      'too many terms',
      ['likelihood', 'runs/tiny', '--terms', '1001'],
      /Invalid --terms 1001: expected an integer from 2 to 1000/,
    ],
    [
      'too many images',
      ['likelihood', 'runs/tiny', '--images', '6'],
      /Invalid --images 6: expected an integer from 1 to 5/,
    ],
  ] as const) {
    test(`rejects ${what}`, () => {
      const { status, output } = run('evaluate', ...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
      assert.doesNotMatch(output, /\n\s+at /)
    })
  }
})
