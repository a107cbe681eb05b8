import assert from 'node:assert/strict'
import { test } from 'node:test'
import { samplers } from '@ddpm/shared'
import { isStochastic, toDeterministic } from './settings.ts'

test('toDeterministic returns deterministic samplers unchanged and replaces the others with DDIM, η = 0', () => {
  for (const sampler of samplers) {
    const result = toDeterministic({ sampler, eta: 0.5 } as const)
    assert.equal(isStochastic(result), false, sampler)
    if (!isStochastic({ sampler, eta: 0.5 })) assert.equal(result.sampler, sampler)
  }
})
