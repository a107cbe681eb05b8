import { createHash } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Dtype, formatManifest, type Manifest, type ManifestFile, manifestVersion } from '@ddpm/shared'
import type { ModelFile } from '../compile/tfjs/model.ts'
import { gridPng } from '../image/grid.ts'
import { graphNames, toOnnxModel, toTfjsModel, type WeightsKind } from '../inference/graph.ts'
import { openModel } from '../inference/model.ts'
import { sample } from '../inference/sample.ts'
import { createParameterLayout } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { networkKey } from '../run/pretrained.ts'
import { pickNetworkFields } from '../run/recipes.ts'
import { modelInfoOf, networkOf, type Run } from '../run/run.ts'
import { writeAtomically } from '../support/files.ts'

export interface ExportOptions {
  /** Output folder. */
  readonly folder: string
  /** Model name: owner/name. */
  readonly name: string
  readonly description: string
  readonly licence: string
  readonly weights: WeightsKind
  /** 'fp16' also writes a second graph with half-precision weights. Default: 'fp32'. */
  readonly dtype?: Dtype
  /** Number of images in the preview; 0 omits it. */
  readonly preview: number
}

/**
 * Writes `model.onnx`, `model.fp16.onnx` for dtype 'fp16', `manifest.json` and `preview.png`.
 * @param convert receives our ONNX file and returns the one that replaces it, made by another tool from the same network
 * @returns the manifest
 */
export async function exportModel(
  run: Run,
  checkpoint: Checkpoint,
  options: ExportOptions,
  convert?: (plain: Uint8Array) => Promise<Uint8Array>,
): Promise<Manifest> {
  const { config } = run
  const info = modelInfoOf(config)
  const { name, description, licence } = options
  const network = JSON.stringify(pickNetworkFields(config.recipe))
  const metadata = { name, description, licence, [networkKey]: network }
  const plain = toOnnxModel(config, checkpoint, options.weights, metadata)
  const graph = convert ? await convert(plain) : plain
  const files: ManifestFile[] = []
  const write = (
    role: ManifestFile['role'],
    path: string,
    mediaType: ManifestFile['mediaType'],
    bytes: Uint8Array,
  ) => {
    writeAtomically(join(options.folder, path), bytes)
    files.push(describeFile(role, path, mediaType, bytes))
  }
  const onnx = 'application/octet-stream'
  write('graph', 'model.onnx', onnx, graph)
  if (options.dtype === 'fp16') {
    const half = toOnnxModel(config, checkpoint, options.weights, metadata, true)
    write('graph-fp16', 'model.fp16.onnx', onnx, half)
  }
  const manifest: Manifest = {
    version: manifestVersion,
    name,
    description,
    licence,
    ...info,
    files,
    inputs: {
      sample: graphNames.sample,
      timestep: graphNames.timestep,
      label: info.classes.length > 0 ? graphNames.label : null,
    },
    output: graphNames.output,
    training: {
      recipe: config.recipe.recipe,
      data: config.dataset.name,
      pictures: config.dataset.count,
      parameters: createParameterLayout(parameterSpecs(networkOf(config).unet)).size,
      steps: checkpoint.progress.step,
      batchSize: config.recipe.batchSize,
      seconds: Math.round(checkpoint.progress.seconds),
      weights: options.weights,
      loss: checkpoint.progress.loss,
      validationLoss: checkpoint.progress.validationLoss,
    },
  }
  const manifestPath = join(options.folder, 'manifest.json')
  writeAtomically(manifestPath, formatManifest(manifest))
  if (options.preview === 0) return manifest

  // The preview is generated with the written files, so that it shows what their users will get.
  const model = await openModel(options.folder, options.weights)
  const images = await sample(info, model.network, { seed: 0, count: options.preview })
  await model.dispose()
  const png = await gridPng(images, info.shape)
  write('preview', 'preview.png', 'image/png', png)
  const complete = { ...manifest, files }
  writeAtomically(manifestPath, formatManifest(complete))
  return complete
}

function describeFile(
  role: ManifestFile['role'],
  path: string,
  mediaType: ManifestFile['mediaType'],
  bytes: Uint8Array,
): ManifestFile {
  return {
    role,
    path,
    mediaType,
    bytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  }
}

/**
 * Writes a TensorFlow.js graph model: the shards of its weights and, last, `model.json`. The metadata of `model.json`
 * contain everything that a sampler needs. Removes the shards of an earlier export.
 * @returns the files written
 */
export function exportTfjsModel(
  run: Run,
  checkpoint: Checkpoint,
  { folder, name, description, licence, weights }: Omit<ExportOptions, 'preview' | 'dtype'>,
): ModelFile[] {
  const metadata = { name, description, licence, ...modelInfoOf(run.config) }
  const files = toTfjsModel(run.config, checkpoint, weights, metadata)
  for (const { path, bytes } of files) writeAtomically(join(folder, path), bytes)
  const written = new Set(files.map(({ path }) => path))
  for (const path of readdirSync(folder)) {
    if (/^group1-shard\d+of\d+\.bin$/.test(path) && !written.has(path)) rmSync(join(folder, path))
  }
  return files
}
