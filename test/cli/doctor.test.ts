import assert from 'node:assert/strict'
import { test } from 'node:test'
import { command } from '../support/command.ts'

test('npm run doctor measures every engine on every device or prints what to install', async () => {
  // Hides all Vulkan drivers of this machine.
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
    assert.match(stdout, /no +onnxruntime on webgpu\n +Cannot use WebGPU: no graphics card was detected/)
})
