import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openPretrained } from './pretrained.ts'

const included = fileURLToPath(new URL('../../../edge/models/digits', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'ddpm-pretrained-'))
after(() => rmSync(folder, { recursive: true }))

/** Copies an exported model and changes it. */
function changed(name: string, change: (folder: string) => void): string {
  const copy = join(folder, name)
  cpSync(included, copy, { recursive: true })
  change(copy)
  return copy
}

test('the weights and the network of an exported model are read from its ONNX file', async () => {
  const { tensors, classes, fields } = await openPretrained(included)
  assert.deepEqual(tensors.get('first.weight')!.shape, [fields.baseChannels, 1, 3, 3])
  assert.equal(classes.length, 10)
  assert.deepEqual([fields.size, fields.channels, fields.predictionType], [28, 1, 'v'])
})

test('damaged and unsupported exports are rejected with what to do', async () => {
  const missing = changed('missing', (copy) => rmSync(join(copy, 'model.onnx')))
  const damaged = changed('damaged', (copy) => writeFileSync(join(copy, 'model.onnx'), 'not a model'))
  const custom = changed('custom', (copy) => {
    const path = join(copy, 'manifest.json')
    const manifest = JSON.parse(readFileSync(path, 'utf8'))
    manifest.scheduler.trained_betas = Array(manifest.scheduler.num_train_timesteps).fill(0.01)
    writeFileSync(path, JSON.stringify(manifest))
  })
  for (const [source, message] of [
    [missing, /Missing file .*model\.onnx, which .* lists\. Export the model again/],
    [damaged, /Cannot read the ONNX file of .*: .*\. Export the model again/],
    [custom, /its noise schedule has custom betas, which a recipe cannot express/],
    ['https://host/model', /Invalid model URL https:\/\/host\/model: expected https:\/\/host\/owner\/name/],
  ] as const) {
    await assert.rejects(openPretrained(source), { name: 'UserError', message })
  }
})
