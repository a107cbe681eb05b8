import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command } from '../support/command.ts'

test('npm run doctor: every engine on every device, measured or with what would make it work', async () => {
  // Without a Vulkan driver, whatever this machine has.
  const { status, stdout, stderr } = await command(['doctor'], {
    VK_ICD_FILENAMES: '/nowhere.json',
    VK_DRIVER_FILES: '',
  })
  assert.equal(status, 0, stderr)
  for (const engine of ['onnxruntime', 'tfjs']) {
    assert.match(stdout, new RegExp(`yes  ${engine} on cpu: [\\d.]+ ms, [\\d.e+]+ images/s`))
    for (const device of ['webgpu', 'cuda'])
      assert.match(stdout, new RegExp(`(yes|no) +${engine} on ${device}`))
  }
  if (process.platform === 'linux')
    assert.match(stdout, /no +onnxruntime on webgpu\n +WebGPU found no graphics card/)
})
