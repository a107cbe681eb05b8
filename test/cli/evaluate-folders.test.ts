import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import sharp from 'sharp'
import { command } from '../support/command.ts'
import { exportTinyModel } from '../support/model.ts'
import { toSharp, waves } from '../support/waves.ts'

const folder = await mkdtemp(join(tmpdir(), 'ddpm-evaluate-'))
const at = (name: string) => join(folder, name)
const side = 16
after(() => rm(folder, { recursive: true }))

const run = async (...args: string[]) => {
  const { status, stdout, stderr } = await command(args)
  return { status, output: stdout + stderr }
}
const succeed = async (...args: string[]) => {
  const { status, output } = await run(...args)
  assert.equal(status, 0, output)
  return output
}
const reportOf = async (output: string) =>
  JSON.parse(await readFile(/Wrote the report to (\S+)/.exec(output)![1]!, 'utf8'))

/** Writes images of random waves. Images with the same index are the same. */
async function writeWaves(name: string, indices: readonly number[]): Promise<void> {
  await mkdir(at(name), { recursive: true })
  await Promise.all(
    indices.map((index) => toSharp(waves(index, side), side).toFile(join(at(name), `${index}.png`))),
  )
}
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

suite('npm run evaluate with folders', () => {
  before(async () => {
    await writeWaves('real', range(0, 80))
    await writeWaves('fake', range(100, 120))
    await exportTinyModel(at('export'))
  })
  const few = ['--bootstrap', '3']

  test('prints every figure for images without labels, also for a model', async () => {
    const figures = /FID .*\n.*KID .*\n.*precision .*\n.*recall .*\n.*density .*\n.*coverage /
    const args = ['--data', at('real'), '--out', at('out'), ...few]
    const ofFolder = await succeed('evaluate', '--samples', at('fake'), ...args)
    assert.match(ofFolder, figures)
    assert.match(ofFolder, /Samples: 20 images of \S+fake\nCompared with: 80 of 80 images of \S+real \(all\)/)
    assert.match(ofFolder, /Features: 64 of a convolutional network with random weights/)
    const { generated, model, scores } = await reportOf(ofFolder)
    assert.deepEqual([generated.count, generated.folders, model], [20, [at('fake')], undefined])
    const ofModel = await succeed('evaluate', at('export'), '--steps', '2', '--count', '8', ...args)
    assert.match(ofModel, figures)
    assert.ok((await reportOf(ofModel)).scores.fid.value > scores.fid.value, 'an untrained model is worse')
  })

  test('the images of four processes have the same figures in four folders as in one', async () => {
    const sample = ['sample', at('export'), '--steps', '2', '--seed', '5']
    await succeed(...sample, '--count', '12', '--out', `${at('whole')}/`)
    const parts = range(0, 4).map((i) => at(`part-${i}`))
    await Promise.all(
      parts.map((part, i) =>
        succeed(...sample, '--first', String(3 * i), '--count', '3', '--out', `${part}/`),
      ),
    )
    const evaluate = (...folders: string[]) =>
      succeed(
        'evaluate',
        at('export'),
        '--data',
        at('real'),
        '--out',
        at('out'),
        ...few,
        '--samples',
        ...folders,
      )
    const whole = await reportOf(await evaluate(at('whole')))
    const divided = await reportOf(await evaluate(...parts.reverse()))
    assert.deepEqual(divided.scores, whole.scores)
    assert.equal(divided.generated.digest, whole.generated.digest)
    assert.equal(divided.generated.count, 12)
  })

  test('--neighbours counts copies, marks them, and compares with real images', async () => {
    await writeWaves('copied', [...range(200, 210), 33])
    const output = await succeed(
      'evaluate',
      ...['--samples', at('copied'), '--data', at('real'), '--neighbours', '--out', at('copies')],
    )
    assert.match(output, /Memorised: 1 of 11 samples are copies of one of the 80 images/)
    assert.match(output, /copied\/33\.png: real image \d+, distance 0\.000, ratio 0\.000/)
    assert.match(output, /0 of 80 of the real images, compared with all others, are as close/)
    const { samples } = JSON.parse(await readFile(at('copies/neighbours.json'), 'utf8'))
    assert.deepEqual(
      samples.filter(({ copy }: { copy: boolean }) => copy).map(({ sample }: { sample: string }) => sample),
      [at('copied/33.png')],
    )
    const { data, info } = await sharp(at('copies/neighbours.png'))
      .raw()
      .toBuffer({ resolveWithObject: true })
    const cell = 2 * side + 2
    assert.deepEqual([info.width, info.height, info.channels], [11 * cell + 2, 3 * cell + 2, 3])
    const colourAt = (x: number, y: number) => [
      ...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3),
    ]
    assert.deepEqual(colourAt(0, 0), [220, 30, 40], 'the copy is first and has a red frame')
    assert.deepEqual(colourAt(5 * cell, 0), [255, 255, 255])
  })

  test('warns of equal samples', async () => {
    await writeWaves('again', range(100, 104))
    const args = ['--data', at('real'), '--out', at('out'), '--bootstrap', '0']
    assert.match(
      await succeed('evaluate', ...args, '--samples', at('fake'), at('again')),
      /4 of the 24 samples are the same as another one: .*again\/100\.png .*pass a different --first to each/s,
    )
  })

  test('rejects unusable folders and conflicting options with what to do', async () => {
    await mkdir(at('empty'))
    await mkdir(at('large'))
    await mkdir(at('damaged'))
    await writeFile(at('damaged/0.png'), 'no image')
    await toSharp(waves(0, 20), 20).toFile(at('large/999.png'))
    await sharp(at('real/0.png')).greyscale().toFile(at('grey.png'))
    const against = (...args: string[]) => ['--data', at('real'), '--samples', ...args]
    for (const [args, message] of [
      [[], /Missing model: pass a run.*or folders with --samples/],
      [['--samples', at('fake')], /Missing --data: without a model/],
      [against(at('nowhere')), /Cannot find --samples \S+nowhere\. Pass folders of images/],
      [against(at('grey.png')), /Invalid --samples \S+: expected a folder of single images, got a file/],
      [against(at('empty')), /Cannot find images in \S+empty: the folder is empty/],
      [against(at('damaged')), /Cannot read 1 of the 1 samples: \S+0\.png .*Remove the files/],
      [
        against(at('fake'), at('large')),
        /Invalid size of 1 of the 21 samples: expected 16×16 .* got \S+ \(20×20\)/,
      ],
      [[at('export'), ...against(at('large'))], /expected 16×16 as the model, got/],
      [[...against(at('fake')), '--count', '21'], /Too few samples: expected 21, got 20 images/],
      [
        [...against(at('fake')), '--count', '4'],
        /Too few images: expected more than 5 generated .* got 4 generated/,
      ],
      [[...against(at('fake')), '--steps', '5'], /Conflicting --samples and --steps: .*Remove --steps/],
      [[at('export'), ...against(at('fake')), '--weights', 'raw'], /Conflicting --samples and --weights/],
      [[...against(at('fake')), '--split', 'train'], /Invalid --split train: only the images of a run/],
      [[...against(at('fake')), '--features-sha256', 'ab'], /Missing --features/],
      [['--samples', at('fake'), '--data', at('empty')], /Cannot find images in \S+empty/],
    ] as const) {
      const { status, output } = await run('evaluate', ...args)
      assert.equal(status, 1, `${args.join(' ')}: ${output}`)
      assert.match(output, message)
      assert.doesNotMatch(output, /\n\s+at /)
    }
  })
})
