import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, suite, test } from 'node:test'
import { openRun } from '../../trainer/src/run/run.ts'
import { command } from '../support/command.ts'
import { createFolder, png, type Rgb } from '../support/image-folder.ts'

const cpu = ['--threads', '1', '--device', 'cpu']
const fewSamplingSteps = '--sampler ddim --sampling-steps 2'.split(' ')
let folder: string
let images: readonly string[]
async function train(...args: string[]): Promise<{ status: number | null; output: string }> {
  const { status, stdout, stderr } = await command(['train', ...args, ...cpu])
  return { status, output: stdout + stderr }
}
const at = (name: string) => join(folder, name)
const runOf = (name: string) => openRun(at(name)).config.recipe

suite('npm run train -- --time', () => {
  before(async () => {
    const files = Array.from({ length: 16 }, async (_, i) => {
      const colour: Rgb = [(i * 67) % 256, (i * 29) % 256, (i * 101) % 256]
      return [`images/${i}.png`, await png(colour)] as const
    })
    folder = await createFolder(Object.fromEntries(await Promise.all(files)))
    images = ['--data', at('images'), '--size', '8']
  })

  test('chooses network, batch size and steps, says what would change the choice, and trains that many steps', async () => {
    const { status, output } = await train(
      '--data',
      at('images'),
      '--size',
      '8',
      '--time',
      '3s',
      '--out',
      at('timed'),
    )
    assert.equal(status, 0, output)
    assert.match(output, /Network: small, with 16 channels.* On this machine, from --time .* it is medium\./)
    const steps = Number(
      /Training for about 0:03 \(--time\): ([\d,]+) steps of 16 images/.exec(output)![1]!.replace(',', ''),
    )
    const recipe = runOf('timed')
    assert.deepEqual(
      [recipe.steps, recipe.baseChannels, recipe.channelMultiples, recipe.predictionType],
      [steps, 16, [1], 'v'],
    )
    const metrics = readFileSync(at('timed/metrics.jsonl'), 'utf8').trim().split('\n')
    assert.equal(JSON.parse(metrics.at(-1)!).step, steps)
    // The chosen recipe is saved, so nothing is measured or chosen again.
    assert.match(
      (await train('--resume', at('timed'))).output,
      new RegExp(`timed is finished: ${steps} of ${steps} steps`),
    )
  })

  test('options take precedence over the choice', async () => {
    const options = '--base-channels 8 --prediction-type epsilon --sample-every 1000 --time 1s'.split(' ')
    const { output } = await train(...images, ...fewSamplingSteps, ...options, '--out', at('set'))
    assert.doesNotMatch(output, /Network: /)
    const { baseChannels, predictionType, sampleEvery } = runOf('set')
    assert.deepEqual([baseChannels, predictionType, sampleEvery], [8, 'epsilon', 1000])
  })

  test('a recipe and a model to start from keep their network; only the length is chosen', async () => {
    const options = '--data shapes:64 --base-channels 8 --time 1s'.split(' ')
    const shapes = await train(...options, ...fewSamplingSteps, '--out', at('shapes'))
    assert.match(shapes.output, /Training for about 0:01 \(--time\): [\d,]+ steps of 8 images/)
    assert.deepEqual(runOf('shapes').channelMultiples, [1, 2, 4, 4])
    const tuned = await train(...images, '--from', at('timed'), '--time', '1s', '--out', at('tuned'))
    assert.match(tuned.output, /took ([\d,]+) of \1 parameters/)
    assert.equal(runOf('tuned').baseChannels, 16)
  })

  test('without --time, --steps or --recipe, own images are trained for an hour', async () => {
    const { status, output } = await train(...images, '--dry-run', at('sheet.png'))
    assert.equal(status, 0, output)
    // 15 of the 16 images are trained on, each at most 2048 times.
    assert.match(
      output,
      /Training for about 1:00:00 \(--time\): 1,920 steps of 16 images; each image is seen 2,048 times/,
    )
  })

  test('--time with --resume is rejected', async () => {
    const { status, output } = await train('--resume', at('timed'), '--time', '1h')
    assert.equal(status, 1)
    assert.match(output, /Conflicting --time and --resume/)
  })

  for (const [args, message] of [
    [['--time', 'long'], /--time .*'long' is invalid. Expected a time such as 30m, 2h or 1h30m/],
    [['--time', '1h', '--steps', '10'], /Conflicting --steps and --time/],
  ] as const) {
    test(`${args.join(' ')} is rejected`, async () => {
      const { status, output } = await train(...images, ...args)
      assert.equal(status, 1)
      assert.match(output, message)
    })
  }
})
