import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createSchedule, readScheduler } from '@ddpm/shared'
import { layoutOf } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { differences, openRecipe } from './recipe-file.ts'
import { type Recipe, recipes, validateRecipe } from './recipes.ts'
import { modelInfoOf, networkOf, scheduleOf, stepOf } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-recipes-'))
after(() => rmSync(folder, { recursive: true }))

function runOf(recipe: Recipe, side: number, channels = 3) {
  const dataset = { name: 'test', count: 100, channels, height: side, width: side, classes: [] }
  return { version: 1 as const, recipe, dataset }
}

test('every recipe is one that can be trained', () => {
  for (const [name, recipe] of Object.entries(recipes)) {
    assert.equal(recipe.recipe, name)
    validateRecipe(recipe)
    networkOf(runOf(recipe, recipe.size ?? (name === 'mnist' ? 28 : 32)))
  }
})

for (const [field, values] of Object.entries({
  size: [0, -8, 100_000],
  validation: [0, 1],
  baseChannels: [0, 1e9],
  numResBlocks: [0, 1000],
  dropout: [-0.1, 1],
  timesteps: [1, 1e9],
  batchSize: [0, 1e6],
  accumulate: [0, 3],
  learningRate: [0, -1, Number.NaN, Number.POSITIVE_INFINITY],
  beta1: [-0.1, 1],
  beta2: [1],
  eps: [0],
  clipNorm: [-1],
  emaDecay: [1],
  labelDropout: [-0.1, 1.1],
  samplingSteps: [0],
  guidance: [-1],
  sampleEvery: [0],
  keep: [0],
  betaStart: [0, -1e-4],
  betaEnd: [1, 2],
})) {
  test(`an impossible ${field} is refused by name`, () => {
    for (const value of values) {
      const recipe = { ...recipes['images']!, [field]: value }
      assert.throws(() => validateRecipe(recipe), { name: 'UserError', message: new RegExp(field) })
    }
  })
}

test('cifar10 and seed64 have as many parameters as the published network and the original', () => {
  const parameters = (name: string, side: number) =>
    layoutOf(parameterSpecs(networkOf(runOf(recipes[name]!, side)).unet)).size
  assert.equal(parameters('cifar10', 32), 35_746_307)
  assert.equal(parameters('seed64', 64), 17_217_923)
  const { batch, accumulate } = stepOf(runOf(recipes['cifar10']!, 32))
  assert.equal(batch * accumulate!, 128)
})

test('a schedule of zero terminal SNR goes into training and into the manifest, but not with epsilon', () => {
  const recipe: Recipe = { ...recipes['shapes']!, zeroTerminalSnr: true, predictionType: 'v' }
  validateRecipe(recipe)
  assert.equal(createSchedule(scheduleOf(recipe)).alphasCumprod.at(-1), 0)
  const { scheduler } = modelInfoOf(runOf(recipe, 32))
  assert.equal(createSchedule(readScheduler(scheduler).schedule).alphasCumprod.at(-1), 0)
  assert.throws(
    () => validateRecipe({ ...recipe, predictionType: 'epsilon' }),
    /zeroTerminalSnr .* expected x0 or v/,
  )
})

function file(name: string, json: unknown): string {
  const path = join(folder, name)
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json))
  return path
}

test('a recipe file changes fields of the recipe it is based on', () => {
  const changes = {
    steps: 20,
    attention: [true, false, true],
    size: null,
    betaSchedule: 'sigmoid',
    flip: true,
  }
  const recipe = openRecipe(file('mine.json', { recipe: 'mnist', ...changes }))
  assert.deepEqual(recipe, { ...recipes['mnist'], ...changes, recipe: 'mine' })
  assert.deepEqual(differences({ ...recipe, flip: false }, recipe), ['flip: found false, expected true'])
})

for (const [what, json, message] of [
  ['nothing to base it on', { steps: 20 }, /recipe undefined; expected what it is based on, one of shapes/],
  ['an unknown base', { recipe: 'cats' }, /recipe "cats"; expected one of/],
  ['an unknown field', { recipe: 'mnist', stepz: 20 }, /unknown field "stepz"; expected recipe, data/],
  ['text for a number', { recipe: 'mnist', steps: '20' }, /steps: Found "20"; expected a value like 20/],
  [
    'a number for a list',
    { recipe: 'mnist', attention: true },
    /attention: Found true; expected .* \[true\]/,
  ],
  [
    'another word',
    { recipe: 'mnist', betaSchedule: 'cubic' },
    /betaSchedule: Found "cubic"; expected one of/,
  ],
  ['no JSON', '{"recipe": ', /is not JSON/],
  ['no record', [1], /holds no recipe/],
] as const) {
  test(`a recipe file with ${what} is refused by name`, () => {
    const path = file('bad.json', json)
    assert.throws(() => openRecipe(path), { name: 'UserError', message })
  })
}
