import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { domains, type ModelInfo, normals, UserError } from '@ddpm/shared'
import type { ModelFile } from '../compile/tfjs/model.ts'
import { graphNames, type OpenedModel, openGraph } from './inference.ts'

const needless = 'Plain `npm run export` writes the same network as ONNX and needs none of them.'
const install = `python3 -m pip install "tensorflow>=2.13,<2.16" tf2onnx`

/** Prints which of the modules in its arguments are not installed, without loading any. */
const findMissing =
  'import importlib.util, sys; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])'

async function runPython(python: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(python, args, { maxBuffer: 2 ** 28 })
  return stdout
}

/**
 * Makes sure that tf2onnx could run.
 * @throws UserError that says what is missing and how to get it
 */
export async function requireTf2onnx(python: string): Promise<void> {
  let missing: string
  try {
    missing = (await runPython(python, ['-c', findMissing, 'tensorflow', 'tf2onnx'])).trim()
  } catch (error) {
    throw new UserError(
      `Found no Python that runs as "${python}" (${firstLine(error)}). Install Python 3.9 to 3.11, or name its ` +
        `executable with --python; then: ${install}. ${needless}`,
    )
  }
  if (missing === '') return
  throw new UserError(
    `${python} has no ${missing.split(' ').join(' and no ')}. Install what is missing, in Python 3.9 to 3.11, for ` +
      `tf2onnx wants TensorFlow 2.13 to 2.15: ${install}. ${needless}`,
  )
}

function firstLine(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0]!
}

/**
 * Converts a TensorFlow.js graph model with tf2onnx, and lets the result pass only where it predicts what our own ONNX
 * export of the same network predicts.
 * @param plain our own export
 * @throws UserError where tf2onnx fails, or its result differs
 */
export async function convertWithTf2onnx(
  python: string,
  model: readonly ModelFile[],
  facts: ModelInfo,
  plain: Uint8Array,
): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-tf2onnx-'))
  try {
    for (const { path, bytes } of model) writeFileSync(join(folder, path), bytes)
    const output = join(folder, 'model.onnx')
    const names = [
      graphNames.sample,
      graphNames.timestep,
      ...(facts.classes.length > 0 ? [graphNames.label] : []),
    ]
    await runPython(python, [
      ...['-m', 'tf2onnx.convert', '--tfjs', join(folder, 'model.json'), '--output', output],
      // tf2onnx names inputs after TensorFlow's tensors, x:0.
      ...['--inputs', names.map((name) => `${name}:0`).join(','), '--rename-inputs', names.join(',')],
    ]).catch((error) => {
      const last = String(error.stderr || error.message)
        .trimEnd()
        .split('\n')
        .slice(-15)
        .join('\n')
      throw new UserError(`tf2onnx did not convert the model; it ended with:\n${last}\n${needless}`)
    })
    const converted = readFileSync(output)
    await compare(await openConverted(converted, facts), await openGraph(plain, facts), facts)
    return converted
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function openConverted(bytes: Uint8Array, facts: ModelInfo): Promise<OpenedModel> {
  return openGraph(bytes, facts).catch((error) => {
    throw new UserError(`onnxruntime cannot open what tf2onnx wrote: ${firstLine(error)}. ${needless}`)
  })
}

/** How far predictions may lie apart, in units of the largest: a few roundings of float32 through the network. */
const tolerance = 1e-4

async function compare(converted: OpenedModel, plain: OpenedModel, facts: ModelInfo): Promise<void> {
  const { channels, height, width } = facts.shape
  for (const batch of [1, 3]) {
    const x = new Float32Array(batch * channels * height * width)
    normals(0, { domain: domains.sampling, image: 0, step: 0 }, x)
    const timestep = Float32Array.from({ length: batch }, (_, i) => i * 450)
    const label =
      facts.classes.length > 0 ? Float32Array.from(timestep, (_, i) => i % (facts.classes.length + 1)) : null
    const wanted = await plain.network(x, timestep, label)
    const found = await Promise.resolve(converted.network(x, timestep, label)).catch((error) => {
      throw new UserError(`What tf2onnx wrote does not run in onnxruntime: ${firstLine(error)}. ${needless}`)
    })
    const largest = wanted.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
    const furthest = wanted.reduce((max, value, i) => Math.max(max, Math.abs(value - found[i]!)), 0)
    if (found.length === wanted.length && furthest <= tolerance * largest) continue
    throw new UserError(
      `tf2onnx's model predicts something else than the network: at batch ${batch} it differs by ${furthest}, where ` +
        `${tolerance * largest} is allowed. It was thrown away. ${needless}`,
    )
  }
  await converted.dispose()
  await plain.dispose()
}
