// Runs the benchmark of graphics cards without a card: a tiny network on the CPU and in SwiftShader.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findBrowser } from './support/browser.ts'
import { command } from './support/command.ts'
import { vulkanEnvironment } from './support/vulkan.ts'

test('bench:gpu writes a row per engine, also for those that fail', { timeout: 300_000 }, async (t) => {
  const out = mkdtempSync(join(tmpdir(), 'ddpm-bench-gpu-'))
  t.after(() => rmSync(out, { recursive: true }))
  // Without time for the conformance tests, which run by themselves.
  const { status, stderr } = await command(
    ['bench:gpu', '--minutes', '2', '--out', out],
    vulkanEnvironment(findBrowser()),
  )
  assert.equal(status, 0, stderr)
  const { card, rows, conformance } = JSON.parse(readFileSync(join(out, 'gpu.json'), 'utf8'))
  if (!/^no NVIDIA card/.test(card)) return t.skip('this machine has a card')
  assert.match(conformance, /not run/)
  const rowOf = (side: string) => rows.find((row: { side: string }) => row.side === side)
  const { trained, sampling, error } = rowOf('onnxruntime, cpu')
  assert.equal(error, undefined)
  assert.ok(trained > 0)
  assert.deepEqual(Object.keys(sampling), ['1', '16', '256'])
  assert.match(rowOf('onnxruntime, cuda').error, /^Cannot use CUDA/)
  const table = readFileSync(join(out, 'gpu.md'), 'utf8')
  assert.match(table, /\| tiny \| 2 \| onnxruntime, cpu \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|/)
})
