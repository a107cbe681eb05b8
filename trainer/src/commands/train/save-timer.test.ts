import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSaveTimer } from './save-timer.ts'

test('the first save is due after a minute, the next ones ten minutes after the last save', () => {
  let seconds = 5
  const timer = createSaveTimer(() => 1000 * seconds)
  const dueAt = (time: number) => {
    seconds = time
    return timer.isDue()
  }
  assert.deepEqual([dueAt(6), dueAt(64), dueAt(65)], [false, false, true])
  seconds = 100
  timer.restart()
  assert.deepEqual([dueAt(165), dueAt(699), dueAt(700)], [false, false, true])
})
