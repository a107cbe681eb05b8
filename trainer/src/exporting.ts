import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { formatManifest, type Manifest, type ManifestFile, manifestVersion } from '@ddpm/shared'
import { type Checkpoint, writeAtomically } from './checkpoint.ts'
import { draw, graphNames, openModel, toModel, type WeightsKind } from './inference.ts'
import { layoutOf } from './parameters.ts'
import { gridPng } from './pictures.ts'
import { factsOf, networkOf, type Run } from './run.ts'
import { parameterSpecs } from './unet.ts'

export interface ExportOptions {
  readonly folder: string
  /** owner/name */
  readonly name: string
  readonly description: string
  readonly licence: string
  readonly weights: WeightsKind
  /** Pictures in the preview; 0 leaves it out. */
  readonly preview: number
}

function describeFile(
  role: ManifestFile['role'],
  path: string,
  mediaType: string,
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
 * Writes `model.onnx`, `preview.png` and, last, `manifest.json`.
 * @returns the manifest
 */
export async function exportModel(
  run: Run,
  checkpoint: Checkpoint,
  options: ExportOptions,
): Promise<Manifest> {
  const { config } = run
  const facts = factsOf(config)
  const graph = toModel(config, checkpoint, options.weights, {
    name: options.name,
    description: options.description,
    licence: options.licence,
  })
  writeAtomically(join(options.folder, 'model.onnx'), graph)
  const manifest: Manifest = {
    version: manifestVersion,
    name: options.name,
    description: options.description,
    licence: options.licence,
    ...facts,
    files: [describeFile('graph', 'model.onnx', 'application/octet-stream', graph)],
    inputs: {
      sample: graphNames.sample,
      timestep: graphNames.timestep,
      label: facts.classes.length > 0 ? graphNames.label : null,
    },
    output: graphNames.output,
    training: {
      recipe: config.recipe.recipe,
      data: config.pictures.name,
      pictures: config.pictures.count,
      parameters: layoutOf(parameterSpecs(networkOf(config).unet)).size,
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

  // Drawn from the files just written, as their readers will.
  const model = await openModel(options.folder, options.weights)
  const pictures = await draw(facts, model.network, { seed: 0, count: options.preview })
  await model.dispose()
  const png = await gridPng(pictures, facts.shape)
  writeAtomically(join(options.folder, 'preview.png'), png)
  const complete = {
    ...manifest,
    files: [...manifest.files, describeFile('preview', 'preview.png', 'image/png', png)],
  }
  writeAtomically(manifestPath, formatManifest(complete))
  return complete
}
