// Tries the CUDA files that `npm run setup -- cuda` installs, without a graphics card.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { hasDriver, onnxruntimeCuda } from '../trainer/src/setup/cuda.ts'
import { isInstalled } from '../trainer/src/setup/parts.ts'

const obstacle = !isInstalled(onnxruntimeCuda.name)
  ? 'requires npm run setup -- cuda'
  : hasDriver()
    ? 'this machine has an NVIDIA driver; test/conformance.test.ts tests it'
    : spawnSync('gcc', ['--version']).status !== 0 && 'requires gcc'

suite('onnxruntime on CUDA', { skip: obstacle }, () => {
  const engine = new URL('../trainer/src/engines/probe.ts', import.meta.url).href
  /** Probes the engine in a process with these variables. Returns why it does not work. */
  const probe = (env: Record<string, string>): string => {
    const code = `
      const { probe, smallStep } = await import(${JSON.stringify(engine)})
      const result = await probe({ engine: 'onnxruntime', device: 'cuda' }, smallStep, { seconds: 60 })
      console.log(result.reason)
      process.exit()`
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code]
    return execFileSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, ...env } })
  }

  test('without a driver, only the driver is missing', () => {
    assert.match(probe({}), /the NVIDIA driver is missing/)
  })

  test('with a driver but no card, the provider loads and reports that there is no device', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'ddpm-cuda-'))
    t.after(() => rmSync(folder, { recursive: true }))
    // The driver's library on a machine without a card: CUDA_ERROR_NO_DEVICE is 100.
    const source = `
      int cuInit(unsigned flags) { return 100; }
      int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
      int cuGetProcAddress(const char *name, void **address, int version, unsigned long flags) { *address = 0; return 500; }
      int cuTensorMapEncodeTiled(void) { return 100; }`
    writeFileSync(join(folder, 'driver.c'), source)
    const library = join(folder, 'libcuda.so.1')
    execFileSync('gcc', [
      '-shared',
      '-fPIC',
      '-Wl,-soname,libcuda.so.1',
      '-o',
      library,
      join(folder, 'driver.c'),
    ])
    assert.match(probe({ LD_LIBRARY_PATH: folder }), /no CUDA device was detected/)
  })
})
