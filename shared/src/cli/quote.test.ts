import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { quote } from './quote.ts'

test('a POSIX shell reads a quoted argument as the original text', {
  skip: process.platform === 'win32' && 'no sh',
}, () => {
  for (const argument of [
    'runs/mine',
    'my images',
    "it's",
    '$HOME',
    '`date`',
    'a"b',
    '*',
    '',
    '-x',
    'ä\nb',
  ]) {
    const printed = execFileSync('sh', ['-c', `printf %s ${quote(argument, 'linux')}`], { encoding: 'utf8' })
    assert.equal(printed, argument)
  }
})

test('plain paths stay as they are', () => {
  assert.equal(quote('runs/mine-2.0', 'linux'), 'runs/mine-2.0')
  assert.equal(quote('C:\\runs\\mine', 'win32'), 'C:\\runs\\mine')
  assert.equal(quote('C:\\my runs', 'win32'), '"C:\\my runs"')
})
