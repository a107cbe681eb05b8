import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { recipes } from './recipes.ts'
import { openRun, writeRunConfig } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-run-'))
after(() => rmSync(folder, { recursive: true }))

const recipe = recipes['mnist']!
const dataset = { name: 'digits', count: 9, channels: 1, height: 28, width: 28, classes: ['0', '1'] }
const config = { version: 1 as const, recipe, dataset }

test('a run opens as it was written; fields that came later have their defaults', () => {
  writeRunConfig(folder, config)
  assert.deepEqual(openRun(folder), { folder, config })
  const { eps: _, ...older } = recipe
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, recipe: older }))
  assert.deepEqual(openRun(folder), { folder, config })
})

for (const [what, json, message] of [
  ['no record', null, /config\.json is not a run's configuration of version 1.*null/],
  [
    'a newer version',
    { ...config, version: 2 },
    /config\.json is of version 2, this program reads 1: update it/,
  ],
  ['no data set', { version: 1, recipe }, /dataset.*undefined/],
  ['no number of images', { ...config, dataset: { ...dataset, count: '9' } }, /dataset: count/],
  ['text for a number', { ...config, recipe: { ...recipe, baseChannels: '8' } }, /baseChannels: Found "8"/],
  [
    'a word of no meaning',
    { ...config, recipe: { ...recipe, betaSchedule: 'x' } },
    /betaSchedule: Found "x"/,
  ],
  ['an unknown field', { ...config, recipe: { ...recipe, colour: 1 } }, /unknown field "colour"/],
] as const) {
  test(`a config.json with ${what} is refused by name`, () => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify(json))
    assert.throws(() => openRun(folder), { name: 'UserError', message })
  })
}
