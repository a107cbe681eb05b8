import fc from 'fast-check'

/**
 * fast-check with a fixed seed, so that a test of random inputs fails every time or never. `FUZZ_SEED=7 npm test` tests
 * other inputs.
 */
fc.configureGlobal({ seed: Number(process.env['FUZZ_SEED'] ?? 1) })

export { fc }
