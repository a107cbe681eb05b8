import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { domains, fillNormals, type ModelInfo, UserError } from '@ddpm/shared'
import type { ModelFile } from '../compile/tfjs/model.ts'
import { graphNames } from '../inference/graph.ts'
import { type OpenedModel, openGraph } from '../inference/model.ts'

const alternative =
  'Or run `npm run export` without --via: it writes the same network as ONNX without Python.'
const install = 'npm run setup -- tf2onnx'

/** Python code that prints which of its arguments are not installed modules, without importing them. */
const listMissingModules =
  'import importlib.util, sys; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m) is None])'

/**
 * Checks that Python, TensorFlow and tf2onnx are installed.
 * @throws UserError that names what is missing and how to install it
 */
export async function requireTf2onnx(python: string): Promise<void> {
  let missing: string
  try {
    missing = (await runPython(python, ['-c', listMissingModules, 'tensorflow', 'tf2onnx'])).trim()
  } catch (error) {
    throw new UserError(
      `Cannot run Python as "${python}" (${firstLine(error)}). Install Python 3.9 to 3.11 and then TensorFlow and tf2onnx: ` +
        `${install}. ${alternative}`,
    )
  }
  if (missing === '') return
  throw new UserError(
    `Missing Python modules of ${python}: ${missing.split(' ').join(', ')}. Install them: ${install}. ${alternative}`,
  )
}

/**
 * Converts a TensorFlow.js graph model with tf2onnx, and checks that the result predicts the same as our own ONNX
 * export of the network.
 * @param plain our own export
 * @throws UserError if tf2onnx fails or the predictions differ
 */
export async function convertWithTf2onnx(
  python: string,
  model: readonly ModelFile[],
  info: ModelInfo,
  plain: Uint8Array,
): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-tf2onnx-'))
  try {
    for (const { path, bytes } of model) writeFileSync(join(folder, path), bytes)
    const output = join(folder, 'model.onnx')
    const names = [
      graphNames.sample,
      graphNames.timestep,
      ...(info.classes.length > 0 ? [graphNames.label] : []),
    ]
    await runPython(python, [
      ...['-m', 'tf2onnx.convert', '--tfjs', join(folder, 'model.json'), '--output', output],
      // tf2onnx names inputs after TensorFlow's tensors, x:0.
      ...['--inputs', names.map((name) => `${name}:0`).join(','), '--rename-inputs', names.join(',')],
    ]).catch((error) => {
      const lastLines = String(error.stderr || error.message)
        .trimEnd()
        .split('\n')
        .slice(-15)
        .join('\n')
      throw new UserError(
        `tf2onnx failed to convert the model. Its last output:\n${lastLines}\n${alternative}`,
      )
    })
    const converted = readFileSync(output)
    await comparePredictions(await openConverted(converted, info), await openGraph(plain, info), info)
    return converted
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function runPython(python: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(python, args, { maxBuffer: 2 ** 28 })
  return stdout
}

function openConverted(bytes: Uint8Array, info: ModelInfo): Promise<OpenedModel> {
  return openGraph(bytes, info).catch((error) => {
    throw new UserError(`onnxruntime cannot open the output of tf2onnx: ${firstLine(error)}. ${alternative}`)
  })
}

/** Max difference between predictions, relative to the largest value: a few float32 roundings through the network. */
const tolerance = 1e-4

/** @throws UserError if the predictions of the two models differ */
async function comparePredictions(
  converted: OpenedModel,
  plain: OpenedModel,
  { shape: { channels, height, width }, classes }: ModelInfo,
): Promise<void> {
  for (const batch of [1, 3]) {
    const x = new Float32Array(batch * channels * height * width)
    fillNormals(0, { domain: domains.sampling, image: 0, step: 0 }, x)
    const timestep = Float32Array.from({ length: batch }, (_, i) => i * 450)
    const label = classes.length > 0 ? Float32Array.from(timestep, (_, i) => i % (classes.length + 1)) : null
    const expected = await plain.network(x, timestep, label)
    const actual = await Promise.resolve(converted.network(x, timestep, label)).catch((error) => {
      throw new UserError(`onnxruntime cannot run the output of tf2onnx: ${firstLine(error)}. ${alternative}`)
    })
    const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
    const difference = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - actual[i]!)), 0)
    if (actual.length === expected.length && difference <= tolerance * largest) continue
    throw new UserError(
      `Invalid output of tf2onnx: at batch size ${batch} expected predictions that differ from our export by at most ` +
        `${tolerance * largest}, got ${difference}. The output was discarded. ${alternative}`,
    )
  }
  await converted.dispose()
  await plain.dispose()
}

function firstLine(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0]!
}
