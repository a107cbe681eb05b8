import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultUNet, type UNetConfig } from './config.ts'
import { createParameterLayout, initialize, unflatten } from './parameters.ts'
import { transferWeights } from './transfer.ts'
import { parameterSpecs } from './unet.ts'

const small: UNetConfig = {
  ...defaultUNet,
  baseChannels: 8,
  channelMultiples: [1, 2],
  attention: [false, true],
  numResBlocks: 1,
}
const layoutOf = (change: Partial<UNetConfig>) =>
  createParameterLayout(parameterSpecs({ ...small, ...change }))

test('parameters of the same name and shape are copied, the others keep their initial values', () => {
  const [from, to] = [layoutOf({ inputChannels: 1 }), layoutOf({ inputChannels: 3 })]
  const [source, initial] = [initialize(from, 1), initialize(to, 2)]
  const { parameters, taken, initialized, takenClasses } = transferWeights(
    to,
    initial,
    { tensors: unflatten(from, source), classes: [] },
    [],
  )
  assert.deepEqual(initialized, ['first.weight'])
  assert.equal(takenClasses, null)
  const [actual, copied, kept] = [parameters, source, initial].map((flat, i) =>
    unflatten(i === 1 ? from : to, flat),
  )
  assert.deepEqual(actual!.get('first.weight'), kept!.get('first.weight'))
  assert.deepEqual(actual!.get('final.2.bias'), copied!.get('final.2.bias'))
  assert.equal(taken, to.size - kept!.get('first.weight')!.data.length)
})

test('embeddings are copied by the name of the class; those of new classes are random like them', () => {
  const [from, to] = [layoutOf({ classes: 2 }), layoutOf({ classes: 3 })]
  const source = unflatten(from, initialize(from, 1))
  const transfer = (classes: readonly string[]) =>
    transferWeights(to, initialize(to, 2), { tensors: source, classes }, ['dog', 'fox', 'cat'])
  const rowsOf = (flat: Float32Array) => {
    const { data, shape } = unflatten(to, flat).get('class_embedding.weight')!
    const columns = shape[1]!
    return [0, 1, 2, 3].map((row) => data.slice(row * columns, (row + 1) * columns))
  }
  const { data, shape } = source.get('class_embedding.weight')!
  const sourceRow = (row: number) => data.slice(row * shape[1]!, (row + 1) * shape[1]!)
  const { parameters, takenClasses } = transfer(['cat', 'dog'])
  assert.deepEqual(takenClasses, ['dog', 'cat'])
  const [dog, fox, cat, none] = rowsOf(parameters)
  assert.deepEqual([dog, cat, none], [1, 0, 2].map(sourceRow))
  // Two rows have the mean (a + b) / 2 and the standard deviation |a − b| / 2.
  const random = rowsOf(initialize(to, 2))[1]!
  const [a, b] = [sourceRow(0), sourceRow(1)]
  fox!.forEach((value, i) => {
    const expected = (a[i]! + b[i]!) / 2 + (Math.abs(a[i]! - b[i]!) / 2) * random[i]!
    assert.ok(Math.abs(value - expected) < 1e-6)
  })
})

test('the embedding is zero if the source has no classes', () => {
  const [from, to] = [layoutOf({}), layoutOf({ classes: 2 })]
  const source = { tensors: unflatten(from, initialize(from, 1)), classes: [] }
  const { parameters, initialized } = transferWeights(to, initialize(to, 2), source, ['a', 'b'])
  assert.deepEqual(initialized, [])
  assert.ok(
    unflatten(to, parameters)
      .get('class_embedding.weight')!
      .data.every((value) => value === 0),
  )
})
