import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onnxruntimeVersion } from '../setup/cuda.ts'
import ort from '../support/onnxruntime-node.ts'
import { onnxruntimeCudaHint } from './install-hints.ts'

const all = { files: true, driver: true }

test('each reason why CUDA does not work has its own remedy', () => {
  // Errors of onnxruntime 1.30, shortened.
  const failure = (code: number, text: string) =>
    `/onnxruntime_src/cuda_call.cc:154 CudaCall(ERRTYPE) CUDA failure ${code}: ${text} ; GPU=-1 ; hostname=vm ; expr=cudaSetDevice()\n\n`
  const cases: readonly (readonly [string, typeof all, RegExp])[] = [
    [
      'Failed to load shared library',
      { files: false, driver: true },
      /files are not installed\.\n.*\n {2}npm run setup -- cuda/,
    ],
    [
      'Failed to load shared library',
      { files: true, driver: false },
      /driver is missing \(libcuda.*\nInstall version 580/,
    ],
    [
      failure(100, 'no CUDA-capable device is detected'),
      all,
      /no CUDA device was detected\. The command nvidia-smi/,
    ],
    [
      failure(35, 'CUDA driver version is insufficient'),
      all,
      /driver is too old for CUDA 13\. Install version 580/,
    ],
    [failure(2, 'out of memory'), all, /Cannot use CUDA with onnxruntime: out of memory\.\n/],
    ['first line\nlast line', all, /Cannot use CUDA with onnxruntime: last line\.\n/],
  ]
  for (const [cause, present, expected] of cases) {
    const hint = onnxruntimeCudaHint(cause, present)
    assert.match(hint, expected)
    assert.match(hint, /Alternatively, use --device webgpu/)
  }
})

test('the CUDA files have the version of onnxruntime-node', () => {
  assert.equal(onnxruntimeVersion, ort.env.versions.node)
})
