import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupClasses } from './classes.ts'

test('classes are grouped by their first word', () => {
  assert.deepEqual(groupClasses(['red circle', 'red star', 'blue circle', 'blue star']), [
    { word: 'red', classes: ['red circle', 'red star'] },
    { word: 'blue', classes: ['blue circle', 'blue star'] },
  ])
})

test('words that are separated by commas may contain spaces', () => {
  const classes = ['short hair, hat', 'short hair, smiling', 'long hair, hat', 'long hair, smiling']
  assert.deepEqual(
    groupClasses(classes)?.map(({ word }) => word),
    ['short hair', 'long hair'],
  )
})

test('classes without common first words stay one list', () => {
  assert.equal(groupClasses(['0', '1', '2']), null)
  assert.equal(groupClasses(['red circle', 'blue circle']), null)
  assert.equal(groupClasses(['red circle', 'red star']), null)
  assert.equal(groupClasses([]), null)
})
