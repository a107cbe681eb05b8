import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import sharp from 'sharp'
import { command } from '../support/command.ts'
import { exportTinyModel } from '../support/model.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-sample-'))
const run = join(folder, 'run')
before(() => exportTinyModel(join(folder, 'export')))
after(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the command with few steps and returns its output. */
function sample(...args: string[]): Promise<string> {
  return sampleFrom(run, '--steps', '6', ...args)
}

async function sampleFrom(model: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(['sample', model, ...args])
  assert.equal(status, 0, stdout + stderr)
  return stdout
}

const at = (name: string) => join(folder, name)
const pixels = (name: string) => sharp(at(name)).removeAlpha().raw().toBuffer()

/** Writes an image of the run's size: a square of one colour on another. */
async function paint(name: string, ground: string, square: string): Promise<void> {
  const inner = await sharp({ create: { width: 8, height: 8, channels: 3, background: square } })
    .png()
    .toBuffer()
  await sharp({ create: { width: 16, height: 16, channels: 3, background: ground } })
    .composite([{ input: inner, left: 4, top: 4 }])
    .png()
    .toFile(at(name))
}

test('a grid, single images and an animated grid show the same images', async () => {
  const args = ['--count', '3', '--scale', '1', '--columns', '3']
  const output = await sample(...args, '--out', at('grid.png'))
  assert.match(output, /\nWrote 3 images to \S+grid\.png\n$/)
  await sample(...args, '--out', `${at('singles')}/`)
  await sample(...args, '--out', at('moving.gif'))
  const grid = await sharp(at('grid.png')).metadata()
  assert.deepEqual([grid.width, grid.height], [3 * 18 + 2, 20])
  assert.deepEqual(readdirSync(at('singles')), ['000000.png', '000001.png', '000002.png'])
  for (const i of [0, 1, 2]) {
    const single = await pixels(`singles/00000${i}.png`)
    const cut = await sharp(at('grid.png'))
      .extract({ left: 2 + 18 * i, top: 2, width: 16, height: 16 })
      .raw()
      .toBuffer()
    assert.deepEqual(single, cut)
  }
  const moving = await sharp(at('moving.gif'), { animated: true }).metadata()
  assert.deepEqual([moving.pages, moving.pageHeight, moving.loop], [6, 20, 0])
  // The last frame equals the grid except for GIF's palette.
  const last = await sharp(at('moving.gif'), { page: 5 }).removeAlpha().toColourspace('srgb').raw().toBuffer()
  const expected = await pixels('grid.png')
  const mean = last.reduce((sum, value, i) => sum + Math.abs(value - expected[i]!), 0) / expected.length
  assert.ok(mean < 4, `frames differ from the grid by ${mean} on average`)
})

test('generates the same images from the run and from its export, and others with another seed', async () => {
  const args = ['--count', '4', '--steps', '5']
  await sampleFrom(run, ...args, '--out', at('run.png'))
  await sampleFrom(join(folder, 'export'), ...args, '--out', at('export.png'))
  await sampleFrom(run, ...args, '--seed', '1', '--out', at('seed.png'))
  const [ofRun, ofExport] = [await pixels('run.png'), await pixels('export.png')]
  const difference = ofRun.reduce((max, value, i) => Math.max(max, Math.abs(value - ofExport[i]!)), 0)
  assert.ok(difference <= 1, `pixels differ by ${difference}`)
  assert.notDeepEqual(ofRun, await pixels('seed.png'))
})

test('every sampler generates different images', async () => {
  const grids = new Set<string>()
  for (const args of [
    ['ddpm'],
    ['ddim', '--eta', 'hat'],
    ['dpmpp', '--order', '3'],
    ['sde-dpmpp'],
    ['unipc', '--spacing', 'karras'],
    ['euler', '--spacing', 'lambda'],
    ['heun'],
  ]) {
    await sample('--count', '2', '--out', at('sampler.png'), '--sampler', ...args)
    grids.add((await pixels('sampler.png')).toString('base64'))
  }
  assert.equal(grids.size, 7)
})

suite('from an image', () => {
  before(() => Promise.all([paint('mask.png', 'black', 'white'), paint('sketch.png', '#141414', '#f07828')]))

  test('SDEdit: a lower strength changes the image less', async () => {
    const sketch = await pixels('sketch.png')
    const distance = async (strength: string) => {
      const args = ['--from', at('sketch.png'), '--strength', strength, '--count', '1', '--scale', '1']
      await sample(...args, '--out', `${at(`strength-${strength}`)}/`)
      const result = await pixels(`strength-${strength}/000000.png`)
      return result.reduce((sum, value, i) => sum + Math.abs(value - sketch[i]!), 0)
    }
    assert.equal(await distance('0'), 0)
    assert.ok((await distance('0.35')) < (await distance('1')))
  })

  test('inpainting retains every pixel under the black area of the mask', async () => {
    const args = ['--from', at('sketch.png'), '--mask', at('mask.png'), '--count', '2', '--scale', '1']
    await sample(...args, '--jump', '2', '--resample', '2', '--out', `${at('inpainted')}/`)
    const [sketch, mask] = [await pixels('sketch.png'), await pixels('mask.png')]
    for (const name of ['000000.png', '000001.png']) {
      const result = await pixels(`inpainted/${name}`)
      let changed = 0
      for (const [i, value] of result.entries()) {
        if (mask[i] === 0) assert.equal(value, sketch[i])
        else if (value !== sketch[i]) changed++
      }
      assert.ok(changed > 100, `${changed} values changed`)
    }
  })

  test('inversion reconstructs the image and prints the PSNR', async () => {
    const out = at('inverted.png')
    const args = ['--from', at('sketch.png'), '--invert', '--count', '1', '--steps', '60']
    const output = await sample(...args, '--out', out)
    const [, psnr] =
      /PSNR of the reconstructions: ([\d.]+) dB overall.*has mean -?[\d.]+ and standard deviation [\d.]+\./.exec(
        output,
      )!
    assert.ok(Number(psnr) > 12, output)
    assert.ok(existsSync(out))
  })
})

test('an interpolation starts and ends with the first images of its seeds', async () => {
  const single = ['--scale', '1', '--class', 'light', '--sampler', 'ddim']
  await sample('--seed', '3', '--to-seed', '4', '--count', '5', ...single, '--out', `${at('between')}/`)
  for (const [seed, name] of [
    ['3', '000000.png'],
    ['4', '000004.png'],
  ] as const) {
    await sample('--seed', seed, '--count', '1', ...single, '--out', `${at(`seed-${seed}`)}/`)
    const [expected, actual] = [await pixels(`seed-${seed}/000000.png`), await pixels(`between/${name}`)]
    const difference = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - actual[i]!)), 0)
    assert.ok(difference <= 1, `pixels differ by ${difference}`)
  }
  assert.notDeepEqual(await pixels('between/000002.png'), await pixels('between/000000.png'))
})

test('four processes with --first write the same files as one', async () => {
  await sample('--count', '8', '--seed', '9', '--out', at('one'))
  const parts = [0, 2, 4, 6].map((first) =>
    sample('--count', '2', '--seed', '9', '--first', String(first), '--out', at('four')),
  )
  await Promise.all(parts)
  const names = readdirSync(at('one')).sort()
  assert.deepEqual(readdirSync(at('four')).sort(), names)
  assert.deepEqual([names.length, names.at(-1)], [8, '000007.png'])
  for (const name of names)
    assert.deepEqual(readFileSync(join(at('four'), name)), readFileSync(join(at('one'), name)))
})

test('rejects invalid and conflicting options', async () => {
  for (const [args, message] of [
    [['--strength', '0.5'], /Missing --from: --strength requires/],
    [['--mask', 'm.png'], /Missing --from: --mask requires/],
    [['--invert'], /Missing --from: --invert requires/],
    [['--from', 'a.png', '--to-seed', '1'], /Conflicting --to-seed and --from.*Remove one of them/],
    [['--from', 'a.png', '--invert', '--strength', '1'], /Conflicting --invert.*Remove --strength/],
    [['--from', 'nowhere.png'], /Cannot read nowhere\.png: .*Use a PNG, JPEG, WebP, GIF, AVIF or TIFF image/],
    [['--order', '4'], /Invalid --order 4: expected 1, 2 or 3/],
    [['--count', '0'], /Invalid --count 0: expected a positive integer/],
    [['--jump', '0'], /Invalid --jump 0: expected a positive integer/],
    [['--class', 'blue'], /class "blue".*light, warm/],
    [['--sampler', 'pndm'], /ddpm, ddim/],
    [['--sampler', 'dmpp'], /Did you mean "dpmpp"\?/],
    [['--steps', '5000'], /5000 steps|steps.*5000/],
    [['--first', '5', '--to-seed', '1'], /Conflicting --first and --to-seed.*Remove one of them/],
    [['--out', at('grid.jpg')], /Invalid --out ".*grid\.jpg": expected a \.png file.*got \.jpg/],
    [['--out', at('mask.png/images/')], /Cannot write .*mask\.png is not a folder/],
  ] as const) {
    const { status, stdout, stderr } = await command(['sample', run, ...args])
    assert.equal(status, 1, stdout + stderr)
    assert.match(stderr, message)
    assert.doesNotMatch(stderr, /\n\s+at /)
  }
})

test('rejects a path that is not a model', async () => {
  for (const [path, message] of [
    [at('nowhere'), /nowhere/],
    [folder, /Cannot find a training run in/],
  ] as const) {
    const { status, stdout, stderr } = await command(['sample', path])
    assert.equal(status, 1, stdout + stderr)
    assert.match(stderr, message)
    assert.doesNotMatch(stderr, /\n\s+at /)
  }
})
