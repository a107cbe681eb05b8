import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { createGraph } from '../../algebra/graph.ts'
import { toOnnx } from '../../compile/onnx/model.ts'
import { openOnnxExtractor } from './onnx-extractor.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-extractor-'))
after(() => rmSync(folder, { recursive: true }))

function close(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, expected ${expected}`)
}

suite('ONNX feature extractor', () => {
  /** Writes an ONNX file whose features are sums over 4×4 pixels, with channel weights 1, 10 and 100. */
  function extractorFile(name: string, channels: number, batch: number | 'N', pool: boolean): string {
    const { ops, input } = createGraph()
    const x = input('pixels', [batch, channels, 4, 4])
    const weights = Array.from({ length: 2 * channels * 16 }, (_, i) =>
      i < channels * 16 ? 10 ** Math.floor(i / 16) : 0.5,
    )
    const kernel = ops.constant(weights, [2, channels, 4, 4])
    const sums = ops.conv2d(x, kernel, null, { stride: 1, padding: [0, 0, 0, 0] })
    const output = pool ? ops.reshape(sums, [batch, 2]) : sums
    const path = join(folder, name)
    writeFileSync(path, toOnnx({ first: output, second: ops.scale(output, 2) }, { dialect: 'standard' }))
    return path
  }
  /** Images of 2×2 pixels with one colour each. */
  const uniformImages = (colours: readonly (readonly number[])[]) => ({
    channels: colours[0]!.length,
    height: 2,
    width: 2,
    pixels: Uint8Array.from(colours.flatMap((colour) => colour.flatMap((byte) => [byte, byte, byte, byte]))),
  })
  const preprocessing = { size: 4, mean: [0.5, 0, 0.25], std: [0.5, 1, 2] }

  test('scales images and normalises each channel by its mean and std', async () => {
    const extractor = await openOnnxExtractor(extractorFile('rgb.onnx', 3, 'N', true), preprocessing, null)
    const { values, dims, count } = await extractor.extract(
      uniformImages([
        [255, 0, 51],
        [0, 102, 255],
      ]),
    )
    await extractor.dispose()
    assert.deepEqual([count, dims], [2, 2])
    const sum = (r: number, g: number, b: number) => [16 * (r + 10 * g + 100 * b), 8 * (r + g + b)]
    const expected = [...sum(1, 0, (0.2 - 0.25) / 2), ...sum(-1, 0.4, (1 - 0.25) / 2)]
    values.forEach((value, i) => {
      close(value, expected[i]!, 1e-3)
    })
  })

  test('repeats greyscale channels, pads a fixed batch, selects an output by name and averages over pixels', async () => {
    const path = extractorFile('fixed.onnx', 3, 4, false)
    const extractor = await openOnnxExtractor(path, { size: 4, mean: [0], std: [1] }, 'second')
    const greys = [0, 51, 102, 153, 204, 255].map((byte) => [byte])
    const { values, count } = await extractor.extract(uniformImages(greys))
    await extractor.dispose()
    assert.equal(count, 6)
    greys.forEach(([byte], i) => {
      close(values[2 * i]!, (2 * 16 * 111 * byte!) / 255, 1e-2)
    })
  })

  test('rejects unusable files with the expected and the actual content', async () => {
    const open = (path: string, output: string | null = null) =>
      openOnnxExtractor(path, preprocessing, output)
    await assert.rejects(open(join(folder, 'none.onnx')), /Cannot read the extractor/)
    writeFileSync(join(folder, 'text.onnx'), 'text')
    await assert.rejects(open(join(folder, 'text.onnx')), /onnxruntime cannot open/)
    const two = extractorFile('two.onnx', 2, 'N', true)
    await assert.rejects(
      open(two),
      /expected one input of images \[N, 1 or 3, height, width\], got pixels \[N,2,4,4\]/,
    )
    await assert.rejects(
      open(extractorFile('some.onnx', 1, 'N', true), 'third'),
      /Unknown output "third" of .*some\.onnx: expected one of first, second/,
    )
    const grey = await open(extractorFile('grey.onnx', 1, 'N', true))
    await assert.rejects(
      grey.extract(uniformImages([[1, 2, 3]])),
      /expected an extractor for RGB images, got one for greyscale images/,
    )
  })

  test('accepts only the file with the expected SHA-256, and reports the hash', async () => {
    const path = extractorFile('pinned.onnx', 3, 'N', true)
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex')
    const extractor = await openOnnxExtractor(path, preprocessing, null, hash.toUpperCase())
    assert.ok(extractor.description.includes(`(SHA-256 ${hash})`))
    await extractor.dispose()
    await assert.rejects(
      openOnnxExtractor(path, preprocessing, null, '0'.repeat(64)),
      new RegExp(
        `expected SHA-256 0{64} as in --features-sha256, got ${hash}\\. Use the file with that hash`,
      ),
    )
  })
})
