import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import sharp from 'sharp'
import { command } from '../support/command.ts'
import { trainTinyRun } from '../support/model.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-sample-'))
const run = join(folder, 'run')
before(() => trainTinyRun(run))
after(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the command in few steps; returns what it printed. */
async function sample(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(['sample', run, '--steps', '6', ...args])
  assert.equal(status, 0, stdout + stderr)
  return stdout
}

const at = (name: string) => join(folder, name)
const pixels = (name: string) => sharp(at(name)).removeAlpha().raw().toBuffer()

/** A picture of the run's size: a square of one colour on another. */
async function paint(name: string, ground: string, square: string): Promise<void> {
  const inner = await sharp({ create: { width: 8, height: 8, channels: 3, background: square } })
    .png()
    .toBuffer()
  await sharp({ create: { width: 16, height: 16, channels: 3, background: ground } })
    .composite([{ input: inner, left: 4, top: 4 }])
    .png()
    .toFile(at(name))
}

test('a grid, single pictures and a moving grid show the same pictures', async () => {
  const args = ['--count', '3', '--scale', '1', '--columns', '3']
  await sample(...args, '--out', at('grid.png'))
  await sample(...args, '--out', `${at('singles')}/`)
  await sample(...args, '--out', at('moving.gif'))
  const grid = await sharp(at('grid.png')).metadata()
  assert.deepEqual([grid.width, grid.height], [3 * 18 + 2, 20])
  assert.deepEqual(readdirSync(at('singles')), ['0.png', '1.png', '2.png'])
  for (const i of [0, 1, 2]) {
    const single = await pixels(`singles/${i}.png`)
    const cut = await sharp(at('grid.png'))
      .extract({ left: 2 + 18 * i, top: 2, width: 16, height: 16 })
      .raw()
      .toBuffer()
    assert.deepEqual(single, cut)
  }
  const moving = await sharp(at('moving.gif'), { animated: true }).metadata()
  assert.deepEqual([moving.pages, moving.pageHeight, moving.loop], [6, 20, 0])
  // The last frame is the grid, but for GIF's palette.
  const last = await sharp(at('moving.gif'), { page: 5 }).removeAlpha().toColourspace('srgb').raw().toBuffer()
  const wanted = await pixels('grid.png')
  const mean = last.reduce((sum, value, i) => sum + Math.abs(value - wanted[i]!), 0) / wanted.length
  assert.ok(mean < 4, `frames differ from the grid by ${mean} on average`)
})

test('every sampler draws, and another one draws otherwise', async () => {
  const drawn = new Set<string>()
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
    drawn.add((await pixels('sampler.png')).toString('base64'))
  }
  assert.equal(drawn.size, 7)
})

suite('from another picture', () => {
  before(() => Promise.all([paint('mask.png', 'black', 'white'), paint('sketch.png', '#141414', '#f07828')]))

  test('SDEdit: the weaker, the nearer it stays', async () => {
    const sketch = await pixels('sketch.png')
    const distance = async (strength: string) => {
      const args = ['--from', at('sketch.png'), '--strength', strength, '--count', '1', '--scale', '1']
      await sample(...args, '--out', `${at(`strength-${strength}`)}/`)
      const found = await pixels(`strength-${strength}/0.png`)
      return found.reduce((sum, value, i) => sum + Math.abs(value - sketch[i]!), 0)
    }
    assert.equal(await distance('0'), 0)
    assert.ok((await distance('0.35')) < (await distance('1')))
  })

  test('inpainting keeps every pixel under the black of the mask', async () => {
    const args = ['--from', at('sketch.png'), '--mask', at('mask.png'), '--count', '2', '--scale', '1']
    await sample(...args, '--jump', '2', '--resample', '2', '--out', `${at('inpainted')}/`)
    const [sketch, mask] = [await pixels('sketch.png'), await pixels('mask.png')]
    for (const name of ['0.png', '1.png']) {
      const found = await pixels(`inpainted/${name}`)
      let changed = 0
      for (const [i, value] of found.entries()) {
        if (mask[i] === 0) assert.equal(value, sketch[i])
        else if (value !== sketch[i]) changed++
      }
      assert.ok(changed > 100, `${changed} values changed`)
    }
  })

  test('inversion leads back to the pictures it came from, and says how near', async () => {
    const out = at('inverted.png')
    const printed = await sample(
      '--from',
      at('sketch.png'),
      '--invert',
      '--count',
      '1',
      '--steps',
      '60',
      '--out',
      out,
    )
    const [, psnr] =
      /PSNR of what came back: ([\d.]+) dB over all.*has mean -?[\d.]+ and deviation [\d.]+\./.exec(printed)!
    assert.ok(Number(psnr) > 12, printed)
    assert.ok(existsSync(out))
  })
})

test('between two seeds: the ends are the seeds’ own first pictures', async () => {
  const single = ['--scale', '1', '--class', 'light', '--sampler', 'ddim']
  await sample('--seed', '3', '--to-seed', '4', '--count', '5', ...single, '--out', `${at('between')}/`)
  for (const [seed, name] of [
    ['3', '0.png'],
    ['4', '4.png'],
  ] as const) {
    await sample('--seed', seed, '--count', '1', ...single, '--out', `${at(`seed-${seed}`)}/`)
    const [wanted, found] = [await pixels(`seed-${seed}/0.png`), await pixels(`between/${name}`)]
    const furthest = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i]!)), 0)
    assert.ok(furthest <= 1, `pixels differ by ${furthest}`)
  }
  assert.notDeepEqual(await pixels('between/2.png'), await pixels('between/0.png'))
})

test('what does not go together is said before anything is opened', async () => {
  for (const [args, message] of [
    [['--strength', '0.5'], /--strength goes with --from/],
    [['--mask', 'm.png'], /--mask goes with --from/],
    [['--invert'], /--invert goes with --from/],
    [['--from', 'a.png', '--to-seed', '1'], /leave one out/],
    [['--from', 'a.png', '--invert', '--strength', '1'], /leave out --strength/],
    [['--from', 'nowhere.png'], /Cannot read nowhere\.png/],
    [['--order', '4'], /Found --order 4/],
    [['--count', '0'], /Found --count 0/],
  ] as const) {
    const { status, stdout, stderr } = await command(['sample', run, ...args])
    assert.equal(status, 1, stdout + stderr)
    assert.match(stderr, message)
    assert.doesNotMatch(stderr, /\n\s+at /)
  }
})

suite('npm run plan', () => {
  const plan = async (...args: string[]) => {
    const { status, stdout, stderr } = await command(['plan', ...args])
    return { status, said: stdout + stderr }
  }

  test('prints the table and draws the levels of a run, of diffusers’ block, and of the paper', async () => {
    const block = { _class_name: 'UniPCMultistepScheduler', solver_order: 3, use_karras_sigmas: true }
    writeFileSync(at('scheduler_config.json'), JSON.stringify(block))
    for (const [args, first] of [
      [[run], /^ddpm, 50 network evaluations/],
      [[at('scheduler_config.json'), '--steps', '9'], /^unipc of order 3, 9 network evaluations/],
      [[folder, '--steps', '9'], /^unipc of order 3, 9 network evaluations/],
      [['--sampler', 'heun', '--steps', '4'], /^heun, 7 network evaluations/],
    ] as const) {
      const { status, said } = await plan(...args)
      assert.equal(status, 0, said)
      assert.match(said, first)
      assert.match(said, /Noise level √\(1−ᾱ\) after each row:\n *0 {2}(1\.000|0\.999|0\.9\d\d) {2}█+/)
      assert.match(said, /\n *\d+ {2}0\.000\n$/)
    }
  })

  test('draws an SVG on request', async () => {
    const { status, said } = await plan('--steps', '12', '--no-chart', '--svg', at('levels.svg'))
    assert.equal(status, 0, said)
    assert.doesNotMatch(said, /█/)
    const svg = readFileSync(at('levels.svg'), 'utf8')
    assert.equal(svg.match(/<circle/g)!.length, 2 * 12)
    const { width } = await sharp(Buffer.from(svg)).metadata()
    assert.ok(width! > 0)
  })

  test('refuses what it cannot follow by its name', async () => {
    const block = { _class_name: 'UniPCMultistepScheduler', use_flow_sigmas: true }
    writeFileSync(at('flow.json'), JSON.stringify(block))
    for (const [args, message] of [
      [[at('flow.json')], /Unsupported scheduler configuration [\s\S]*use_flow_sigmas/],
      [['nowhere'], /There is no nowhere/],
      [['--steps', '5000'], /Invalid steps: .* got 5000/],
    ] as const) {
      const { status, said } = await plan(...args)
      assert.equal(status, 1, said)
      assert.match(said, message)
    }
  })
})
