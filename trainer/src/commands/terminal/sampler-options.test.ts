import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Command } from 'commander'
import {
  addPlanOptions,
  addSamplerOptions,
  planOptionsOf,
  type SamplerFlags,
  samplerOptionsOf,
} from './sampler-options.ts'

function parse(...args: string[]): SamplerFlags {
  const command = addSamplerOptions(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  return command.parse(args, { from: 'user' }).opts()
}

test('flags become sampler options; omitted flags add none', () => {
  assert.deepEqual(samplerOptionsOf(parse()), {})
  const flags = ['--sampler', 'unipc', '--steps', '10', '--spacing', 'karras', '--order', '3']
  assert.deepEqual(samplerOptionsOf(parse(...flags, '--variance', 'fixedLarge', '--epsilon', 'raw')), {
    sampler: 'unipc',
    steps: 10,
    spacing: 'karras',
    order: 3,
    varianceType: 'fixedLarge',
    epsilon: 'raw',
  })
})

test('--eta is a number or "hat"', () => {
  assert.deepEqual(samplerOptionsOf(parse('--eta', '0')), { eta: 0 })
  assert.deepEqual(samplerOptionsOf(parse('--eta', 'hat')), { eta: 'hat' })
  assert.throws(() => parse('--eta', 'much'), /eta/)
})

test('invalid values are rejected with the nearest valid one', () => {
  assert.throws(() => parse('--sampler', 'unpic'), /Did you mean "unipc"\?/)
  assert.throws(() => samplerOptionsOf({ order: 4 }), { message: 'Invalid --order 4: expected 1, 2 or 3.' })
})

test('the plan flags are the sampler flags without sampler and steps', () => {
  const names = (command: Command) => command.options.map(({ long }) => long)
  assert.deepEqual(
    names(addSamplerOptions(new Command())).filter((name) => name !== '--sampler' && name !== '--steps'),
    names(addPlanOptions(new Command())),
  )
  assert.deepEqual(planOptionsOf({ spacing: 'lambda', order: 1 }), { spacing: 'lambda', order: 1 })
})
