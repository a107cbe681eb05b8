import assert from 'node:assert/strict'
import { test } from 'node:test'
import { classOf, matchingLabels, sharedWords } from './classes.ts'

const figures = ['red circle', 'red heart', 'blue circle', 'square']
const faces = ['short hair, hat', 'short hair, hat, smiling', 'long hair, smiling', 'long hair, hat, smiling']

test('words are separated by spaces, or by commas in names that contain them', () => {
  assert.deepEqual(sharedWords(figures), ['red', 'circle'])
  assert.deepEqual(sharedWords(faces), ['short hair', 'hat', 'smiling', 'long hair'])
  // A word that is also the name of a class means that class.
  assert.deepEqual(sharedWords([...faces, 'hat']), ['short hair', 'smiling', 'long hair'])
})

test('a name matches its class, a word every class that contains it, several words the classes that contain all', () => {
  assert.deepEqual(matchingLabels(figures, 'red heart'), [1])
  assert.deepEqual(matchingLabels(figures, 'red'), [0, 1])
  assert.deepEqual(matchingLabels(figures, null), [0, 1, 2, 3])
  assert.deepEqual(matchingLabels(faces, 'short hair, hat'), [0])
  assert.deepEqual(matchingLabels(faces, 'hat'), [0, 1, 3])
  assert.deepEqual(matchingLabels(faces, 'smiling, hat'), [1, 3])
  assert.deepEqual(matchingLabels(faces, 'smiling,long hair'), [2, 3])
})

test('an unknown word, or words that no class combines, are an error', () => {
  assert.throws(() => matchingLabels(figures, 'green'), /Unknown class "green": expected one of red circle, /)
  assert.throws(() => matchingLabels(faces, 'hat, beard'), /Unknown class "hat, beard"/)
  assert.throws(() => matchingLabels([], 'red'), /trained without classes/)
})

test('the class of an image depends on the seed and the image only', () => {
  const pick = (image: number, seed = 1) => classOf({ classes: faces }, { seed, image, name: 'hat' })
  const picked = Array.from({ length: 40 }, (_, image) => pick(image))
  assert.deepEqual(new Set(picked), new Set([faces[0], faces[1], faces[3]]))
  assert.equal(pick(7), picked[7])
})
