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

test('a written run is read back unchanged; missing fields get their defaults', () => {
  writeRunConfig(folder, config)
  assert.deepEqual(openRun(folder), { folder, config })
  const { eps: _, ...older } = recipe
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, recipe: older }))
  assert.deepEqual(openRun(folder), { folder, config })
})

test('a config.json of version 0.1 opens: "pictures" instead of "dataset", and the recipe "pictures"', () => {
  const images = recipes['images']!
  const old = { version: 1, recipe: { ...images, recipe: 'pictures' }, pictures: dataset }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(old))
  assert.deepEqual(openRun(folder), { folder, config: { version: 1, recipe: images, dataset } })
})

for (const [what, json, message] of [
  ['no object', null, /Invalid run configuration .*config\.json: .*null/],
  ['a newer version', { ...config, version: 2 }, /config\.json has version 2.* reads version 1.* Update/],
  ['no dataset', { version: 1, recipe }, /dataset.*undefined/],
  ['no number of images', { ...config, dataset: { ...dataset, count: '9' } }, /dataset: count/],
  [
    'text for a number',
    { ...config, recipe: { ...recipe, baseChannels: '8' } },
    /Invalid baseChannels "8" in .*config\.json: expected an integer/,
  ],
  [
    'an unknown value',
    { ...config, recipe: { ...recipe, betaSchedule: 'x' } },
    /Invalid betaSchedule "x" in .*: expected linear, cosine or sigmoid/,
  ],
  [
    'an unknown field',
    { ...config, recipe: { ...recipe, colour: 1 } },
    /Unknown recipe field "colour" in .*config\.json/,
  ],
] as const) {
  test(`a config.json is rejected: ${what}`, () => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify(json))
    assert.throws(() => openRun(folder), { name: 'UserError', message })
  })
}
