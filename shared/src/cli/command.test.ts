import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  parseByteCount,
  parseChoice,
  parsePort,
  parseTime,
  parseWholeNumber,
  parseWholeNumberWithin,
} from './command.ts'

test('sizes are parsed with and without a unit', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4096],
    ['2kB', 2000],
    ['500MB', 5e8],
    ['1.5 GB', 1.5e9],
    ['2TB', 2e12],
  ] as const) {
    assert.equal(parseByteCount(text), bytes)
  }
  for (const text of ['', 'MB', '-1', '1e3', '5k', '5XB', 'much', '1,5GB']) {
    assert.throws(() => parseByteCount(text), {
      name: 'UserError',
      code: 'commander.invalidArgument',
      message: 'Expected a size such as 500MB or 4GB.',
    })
  }
})

test('times are parsed in hours, minutes and seconds', () => {
  for (const [text, seconds] of [
    ['90s', 90],
    ['30m', 1800],
    ['30 min', 1800],
    ['2h', 7200],
    ['0.5h', 1800],
    ['1h30m', 5400],
    ['1h 2m 3s', 3723],
  ] as const) {
    assert.equal(parseTime(text), seconds)
  }
  for (const text of ['', '30', '0m', '-1h', 'h', '1m1h', '1d', '1..5h', 'soon']) {
    assert.throws(() => parseTime(text), {
      name: 'UserError',
      code: 'commander.invalidArgument',
      message: 'Expected a time such as 30m, 2h or 1h30m.',
    })
  }
})

test('whole numbers are parsed within bounds', () => {
  assert.deepEqual(['1', '7', '1e1'].map(parseWholeNumberWithin(1, 10)), [1, 7, 10])
  for (const text of ['0', '11', '-1', '1.5', 'x', '']) {
    assert.throws(() => parseWholeNumberWithin(1, 10)(text), {
      name: 'UserError',
      code: 'commander.invalidArgument',
      message: 'Expected a whole number from 1 to 10.',
    })
  }
  assert.deepEqual(['2e4', '1.5e3', '0'].map(parseWholeNumber), [20_000, 1500, 0])
  for (const text of ['-1', '1e-3', '1e99', '0x10', 'e3']) {
    assert.throws(() => parseWholeNumber(text), /Expected a whole number of at least 0/)
  }
  assert.equal(parsePort('65535'), 65535)
  assert.throws(() => parsePort('65536'), /Expected a whole number from 0 to 65535/)
})

test('a word that is not a choice is rejected with the nearest choice', () => {
  const sampler = parseChoice(['ddpm', 'ddim', 'unipc'])
  assert.equal(sampler('ddim'), 'ddim')
  assert.throws(() => sampler('unpic'), {
    name: 'UserError',
    message: 'Expected one of ddpm, ddim, unipc. Did you mean "unipc"?',
  })
})
