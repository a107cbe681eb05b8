import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createSchedule, fromSchedulerConfig } from '@ddpm/shared'
import { createParameterLayout } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { differences, helpOf, openRecipe, parseField, validateRecipe } from './recipe-reader.ts'
import { type Recipe, type RecipeField, recipeFields, recipes } from './recipes.ts'
import { modelInfoOf, networkOf, scheduleOf, stepOf } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-recipes-'))
after(() => rmSync(folder, { recursive: true }))

function runOf(recipe: Recipe, side: number, channels = 3) {
  const dataset = { name: 'test', count: 100, channels, height: side, width: side, classes: [] }
  return { version: 1 as const, recipe, dataset }
}

test('every named recipe can be trained', () => {
  for (const [name, recipe] of Object.entries(recipes)) {
    assert.equal(recipe.recipe, name)
    validateRecipe(recipe)
    networkOf(runOf(recipe, Number(recipe.size ?? (name === 'mnist' ? 28 : 32))))
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
  test(`an out-of-range ${field} is rejected with an error that names it`, () => {
    for (const value of values) {
      const recipe = { ...recipes['images']!, [field]: value }
      assert.throws(() => validateRecipe(recipe), { name: 'UserError', message: new RegExp(field) })
    }
  })
}

test('cifar10 and seed64 have the parameter counts of the published and the original network', () => {
  const parameters = (name: string, side: number) =>
    createParameterLayout(parameterSpecs(networkOf(runOf(recipes[name]!, side)).unet)).size
  assert.equal(parameters('cifar10', 32), 35_746_307)
  assert.equal(parameters('seed64', 64), 17_217_923)
  const { batch, accumulate } = stepOf(runOf(recipes['cifar10']!, 32))
  assert.equal(batch * accumulate!, 128)
})

test('zeroTerminalSnr applies to training and the manifest, and is rejected with epsilon', () => {
  const recipe: Recipe = { ...recipes['shapes']!, zeroTerminalSnr: true, predictionType: 'v' }
  validateRecipe(recipe)
  assert.equal(createSchedule(scheduleOf(recipe)).alphasCumprod.at(-1), 0)
  const { scheduler } = modelInfoOf(runOf(recipe, 32))
  assert.equal(createSchedule(fromSchedulerConfig(scheduler).schedule).alphasCumprod.at(-1), 0)
  assert.throws(
    () => validateRecipe({ ...recipe, predictionType: 'epsilon' }),
    /predictionType epsilon with zeroTerminalSnr: expected x0 or v/,
  )
})

function file(name: string, json: unknown): string {
  const path = join(folder, name)
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json))
  return path
}

test('a recipe file overrides fields of the recipe it is based on', () => {
  const changes = {
    steps: 20,
    attention: [true, false, true],
    size: null,
    betaSchedule: 'sigmoid',
    flip: true,
  }
  const recipe = openRecipe(file('mine.json', { recipe: 'mnist', ...changes }))
  assert.deepEqual(recipe, { ...recipes['mnist'], ...changes, recipe: 'mine' })
  assert.deepEqual(differences({ ...recipe, flip: false }, recipe), ['flip: expected true, got false'])
})

test('the old recipe name "pictures" still works', () => {
  assert.equal(openRecipe('pictures'), recipes['images'])
  const recipe = openRecipe(file('old.json', { recipe: 'pictures', steps: 20 }))
  assert.deepEqual(recipe, { ...recipes['images'], steps: 20, recipe: 'old' })
})

test('an unknown recipe name is rejected with the nearest name as a suggestion', () => {
  const message =
    'Unknown recipe "minst": expected shapes, faces, mnist, cifar10, seed64 or images, or a JSON file. ' +
    'Did you mean "mnist"?'
  assert.throws(() => openRecipe('minst'), { name: 'UserError', message })
  assert.throws(() => openRecipe('toString'), { name: 'UserError', message: /Unknown recipe "toString"/ })
})

for (const [what, json, message] of [
  ['no base recipe', { steps: 20 }, /expected "recipe" to name the recipe that it is based on/],
  [
    'an unknown base recipe',
    { recipe: 'cats' },
    /Unknown recipe "cats" in .*bad\.json: expected shapes, faces, mnist/,
  ],
  [
    'a misspelled field',
    { recipe: 'mnist', stepz: 20 },
    /Unknown recipe field "stepz" in .*\. Did you mean "steps"\?/,
  ],
  [
    'an unknown field',
    { recipe: 'mnist', perplexity: 20 },
    /"perplexity" .*Known fields: recipe, data, from, size/,
  ],
  [
    'text for a number',
    { recipe: 'mnist', steps: '20' },
    /Invalid steps "20" in .*: expected an integer from 1/,
  ],
  [
    'a fraction for an integer',
    { recipe: 'mnist', steps: 1.5 },
    /Invalid steps 1\.5 in .*: expected an integer/,
  ],
  [
    'a number out of bounds',
    { recipe: 'mnist', dropout: 1 },
    /dropout 1 in .*: expected a number from 0 to 0\.999/,
  ],
  [
    'a value for a list',
    { recipe: 'mnist', attention: true },
    /attention true in .*: expected a list in which each value is true or false/,
  ],
  [
    'a misspelled value',
    { recipe: 'mnist', betaSchedule: 'cosin' },
    /betaSchedule "cosin" in .*: expected linear, cosine or sigmoid\. Did you mean "cosine"\?/,
  ],
  ['invalid JSON', '{"recipe": ', /Invalid JSON in .*bad\.json/],
  ['an array', [1], /expected a JSON object/],
] as const) {
  test(`a recipe file is rejected: ${what}`, () => {
    const path = file('bad.json', json)
    assert.throws(() => openRecipe(path), { name: 'UserError', message })
  })
}

test('the command line accepts the value of every field of every recipe', () => {
  const names = Object.keys(recipeFields) as RecipeField[]
  for (const recipe of Object.values(recipes)) {
    for (const name of names) {
      if (recipe[name] === null) continue
      assert.deepEqual(parseField(name, String(recipe[name]), name), recipe[name], name)
    }
  }
})

for (const [name, text, message] of [
  ['steps', 'many', 'Invalid --x "many": expected an integer from 1 to 1000000000.'],
  ['steps', '1e10', 'Invalid --x "1e10": expected an integer from 1 to 1000000000.'],
  ['steps', '-1', 'Invalid --x "-1": expected an integer from 1 to 1000000000.'],
  ['seed', '', 'Invalid --x "": expected an integer of at least 0.'],
  ['normEps', ' ', 'Invalid --x " ": expected a number.'],
  ['learningRate', '2', 'Invalid --x "2": expected a number from 1e-12 to 1.'],
  ['size', 'null', 'Invalid --x "null": expected an integer from 1 to 4096 or WIDTHxHEIGHT.'],
  ['channels', '2', 'Invalid --x "2": expected auto, 1 or 3.'],
  ['flip', 'yes', 'Invalid --x "yes": expected true or false.'],
  [
    'channelMultiples',
    '1,b',
    'Invalid --x "1,b": expected a list in which each value is an integer of at least 0.',
  ],
  ['sampler', 'dpmp', /^Invalid --x "dpmp": expected ddpm, .* Did you mean "dpmpp"\?$/],
] as const) {
  test(`the command line rejects ${name} "${text}"`, () => {
    assert.throws(() => parseField(name, text, '--x'), { name: 'UserError', message })
  })
}

test('every field has a placeholder and a description', () => {
  for (const name of Object.keys(recipeFields) as RecipeField[]) {
    const { placeholder, description } = helpOf(name)
    assert.ok(placeholder && description, name)
  }
  assert.equal(helpOf('betaSchedule').description, 'noise schedule: linear, cosine or sigmoid')
})
