import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { decodeSafetensors, encodeSafetensors } from './safetensors.ts'

const tensors = new Map([
  ['a', { shape: [2, 3], data: Float32Array.of(1, 2, 3, -4, 5.5, 1e-30) }],
  ['b.c', { shape: [], data: Float32Array.of(7) }],
])

test('files have the layout of the format specification', () => {
  const bytes = encodeSafetensors({ tensors, metadata: { step: '5' } })
  const view = new DataView(bytes.buffer)
  const length = Number(view.getBigUint64(0, true))
  assert.equal((8 + length) % 8, 0)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
  assert.deepEqual(header, {
    __metadata__: { step: '5' },
    a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
    'b.c': { dtype: 'F32', shape: [], data_offsets: [24, 28] },
  })
  assert.equal(view.getFloat32(8 + length + 16, true), 5.5)
  assert.equal(bytes.length, 8 + length + 28)
})

test('an encoded file is decoded unchanged', () => {
  const read = decodeSafetensors(encodeSafetensors({ tensors, metadata: { step: '5' } }), 'memory')
  assert.deepEqual(read, { tensors, metadata: { step: '5' } })
})

test('damaged files are rejected with the reason', () => {
  const bytes = encodeSafetensors({ tensors, metadata: {} })
  const assertRejected = (damaged: Uint8Array, message: RegExp) =>
    assert.throws(() => decodeSafetensors(damaged, 'x.safetensors'), { name: 'UserError', message })
  assertRejected(
    bytes.subarray(0, 4),
    /x\.safetensors is a damaged safetensors file: expected at least 8 bytes, got 4/,
  )
  assertRejected(bytes.subarray(0, 20), /its header has \d+ bytes, but the file ends/)
  assertRejected(bytes.subarray(0, bytes.length - 1), /b\.c ends at byte \d+, but the file at/)
  const garbled = bytes.slice()
  garbled[9] = 0
  assertRejected(garbled, /header is not JSON/)
  const half = new TextEncoder().encode('{"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}')
  const file = new Uint8Array(8 + half.length + 2)
  file[0] = half.length
  file.set(half, 8)
  assertRejected(file, /Invalid type F16 of tensor h in x\.safetensors: expected F32, F64, I64/)
})

const python = spawnSync('/usr/bin/python3', ['-c', 'import safetensors'])
test('the Python library reads the files', {
  skip: python.status === 0 ? false : 'the Python package safetensors is not installed',
}, () => {
  const bytes = encodeSafetensors({ tensors, metadata: {} })
  const code =
    'import sys,safetensors;print({k:(v["shape"],list(v["data"])) for k,v in safetensors.deserialize(sys.stdin.buffer.read())})'
  const { stdout, status } = spawnSync('/usr/bin/python3', ['-c', code], { input: bytes, encoding: 'utf8' })
  assert.equal(status, 0)
  assert.match(stdout, /'a': \(\[2, 3\]/)
})
