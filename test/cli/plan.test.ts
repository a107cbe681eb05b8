import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import sharp from 'sharp'
import { command } from '../support/command.ts'
import { trainTinyRun } from '../support/model.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-plan-'))
const run = join(folder, 'run')
const at = (name: string) => join(folder, name)
before(() => trainTinyRun(run))
after(() => rmSync(folder, { recursive: true, force: true }))

suite('npm run plan', () => {
  const plan = async (...args: string[]) => {
    const { status, stdout, stderr } = await command(['plan', ...args])
    return { status, output: stdout + stderr }
  }

  test('prints the table and the noise levels of a run, of a diffusers scheduler, and of the paper', async () => {
    const scheduler = { _class_name: 'UniPCMultistepScheduler', solver_order: 3, use_karras_sigmas: true }
    writeFileSync(at('scheduler_config.json'), JSON.stringify(scheduler))
    for (const [args, first] of [
      [[run], /^ddpm, 50 network evaluations/],
      [[at('scheduler_config.json'), '--steps', '9'], /^unipc of order 3, 9 network evaluations/],
      [[folder, '--steps', '9'], /^unipc of order 3, 9 network evaluations/],
      [['--sampler', 'heun', '--steps', '4'], /^heun, 7 network evaluations/],
    ] as const) {
      const { status, output } = await plan(...args)
      assert.equal(status, 0, output)
      assert.match(output, first)
      assert.match(output, /Noise level √\(1−ᾱ\) after each row:\n *0 {2}(1\.000|0\.999|0\.9\d\d) {2}█+/)
      assert.match(output, /\n *\d+ {2}0\.000\n$/)
    }
  })

  test('writes an SVG with --svg', async () => {
    const { status, output } = await plan('--steps', '12', '--no-chart', '--svg', at('levels.svg'))
    assert.equal(status, 0, output)
    assert.doesNotMatch(output, /█/)
    const svg = readFileSync(at('levels.svg'), 'utf8')
    assert.equal(svg.match(/<circle/g)!.length, 2 * 12)
    const { width } = await sharp(Buffer.from(svg)).metadata()
    assert.ok(width! > 0)
  })

  test('errors name an unsupported option, a missing file and invalid steps', async () => {
    const scheduler = { _class_name: 'UniPCMultistepScheduler', use_flow_sigmas: true }
    writeFileSync(at('flow.json'), JSON.stringify(scheduler))
    for (const [args, message] of [
      [[at('flow.json')], /Unsupported scheduler configuration .*flow\.json:[\s\S]*use_flow_sigmas/],
      [['nowhere'], /Cannot find nowhere/],
      [['--steps', '5000'], /Invalid steps: expected a whole number from 1 to 1000, .*got 5000/],
    ] as const) {
      const { status, output } = await plan(...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
    }
  })
})
