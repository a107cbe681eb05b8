import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fromSchedulerConfig, graphFile, modelName, parseManifest, UserError } from '@ddpm/shared'
import { type OnnxWeights, readInitializers } from '../compile/onnx/initializers.ts'
import { formatSize } from '../data/dataset/size.ts'
import { unflatten } from '../network/parameters.ts'
import type { SourceWeights } from '../network/transfer.ts'
import { type ExportedModel, readExported } from './exported.ts'
import { pickNetworkFields, type Recipe, recipes } from './recipes.ts'
import { layoutOfRun, openCheckpoint } from './run.ts'
import { decodeSafetensors } from './safetensors.ts'

/** Key of an ONNX file's metadata: the recipe fields of its network as JSON. */
export const networkKey = 'network'

/** Trained weights to start from, and what is known about their model. */
export interface Pretrained extends SourceWeights {
  readonly description: string
  /** Recipe fields that the weights were trained with: network, schedule, prediction and size. */
  readonly fields: Partial<Recipe>
}

/**
 * Opens the weights that fine-tuning starts from.
 * @param source folder of a run, a checkpoint, folder of an exported model, URL of a published model, or a safetensors file
 * @throws UserError if the source cannot be read
 */
export async function openPretrained(source: string): Promise<Pretrained> {
  if (/^https?:/.test(source)) return openPublished(source)
  if (!existsSync(source)) {
    throw new UserError(
      `Cannot find ${source}. Use the folder of a run or of an exported model, a checkpoint, a .safetensors file or the ` +
        'URL of a published model.',
    )
  }
  const exported = readExported(source)
  if (exported !== null) return fromExport(exported)
  const isStateDict = statSync(source).isFile() && !existsSync(join(source, '../../config.json'))
  return isStateDict ? openStateDict(source) : openRunWeights(source)
}

/** Takes the EMA weights of a run's newest checkpoint, or of one checkpoint. */
function openRunWeights(source: string): Pretrained {
  const { run, path, checkpoint } = openCheckpoint(source)
  const { recipe, dataset } = run.config
  const { betaSchedule, timesteps, betaStart, betaEnd, zeroTerminalSnr, predictionType, varianceType } =
    recipe
  const schedule = { betaSchedule, timesteps, betaStart, betaEnd, zeroTerminalSnr }
  return {
    description: `${path} (averaged weights after ${checkpoint.progress.step} steps)`,
    tensors: unflatten(layoutOfRun(run.config), checkpoint.state.ema),
    classes: dataset.classes,
    fields: {
      ...pickNetworkFields(recipe),
      ...schedule,
      predictionType,
      varianceType,
      ...imageFields(dataset),
    },
  }
}

/** Takes the weights of a published model. */
async function openPublished(url: string): Promise<Pretrained> {
  const [, server, name] = /^(https?:\/\/.*)\/([^/]+\/[^/?#]+)$/.exec(url) ?? []
  if (!modelName.safeParse(name).success)
    throw new UserError(`Invalid model URL ${url}: expected https://host/owner/name.`)
  const address = `${server}/api/models/${name}`
  const manifest = parseManifest((await download(address)).toString('utf8'), address)
  const { sha256 } = graphFile(manifest)
  const graph = await download(`${server}/files/${sha256}`)
  if (createHash('sha256').update(graph).digest('hex') !== sha256)
    throw new UserError(`The model file of ${url} is damaged: its SHA-256 is not ${sha256}. Try again.`)
  return fromExport({ manifest, graph })
}

async function download(url: string): Promise<Buffer> {
  const response = await fetch(url).catch((error: Error & { cause?: Error }) => {
    throw new UserError(`Cannot reach ${url}: ${error.cause?.message ?? error.message}.`)
  })
  if (!response.ok) throw new UserError(`Cannot download ${url}: status ${response.status}.`)
  return Buffer.from(await response.arrayBuffer())
}

/** Takes the weights of an exported model from its ONNX file. */
function fromExport({ manifest, graph }: ExportedModel): Pretrained {
  const { tensors, metadata } = readWeights(manifest.name, graph)
  const { schedule, predictionType, varianceType } = fromSchedulerConfig(manifest.scheduler)
  const { betas, ...betaFields } = schedule
  if (betas !== undefined) {
    throw new UserError(
      `Cannot start from ${manifest.name}: its noise schedule has custom betas, which a recipe cannot express. ` +
        'Use a model with a linear, cosine or sigmoid schedule.',
    )
  }
  // Exports of version 0.1.0 do not contain the fields of their network. Built-in recipes are the same in both versions.
  const builtIn = recipes[manifest.training.recipe]
  const network: unknown = JSON.parse(metadata[networkKey] ?? JSON.stringify(builtIn ?? null))
  if (network === null) {
    throw new UserError(
      `Cannot start from ${manifest.name}: it was exported by version 0.1.0 with a custom recipe. Export it again, or use ` +
        'the folder of its run.',
    )
  }
  return {
    description: `exported model ${manifest.name}`,
    tensors,
    classes: manifest.classes,
    fields: {
      ...pickNetworkFields(network as Recipe),
      ...betaFields,
      predictionType,
      varianceType,
      ...imageFields(manifest.shape),
    },
  }
}

function readWeights(name: string, graph: Uint8Array): OnnxWeights {
  try {
    return readInitializers(graph)
  } catch (error) {
    throw new UserError(
      `Cannot read the ONNX file of ${name}: ${(error as Error).message}. Export the model again.`,
    )
  }
}

/** Takes the weights of a state_dict. The network is that of the recipe. */
function openStateDict(path: string): Pretrained {
  const { tensors } = decodeSafetensors(readFileSync(path), path)
  return { description: path, tensors, classes: [], fields: {} }
}

function imageFields({ channels, height, width }: { channels: number; height: number; width: number }) {
  return { size: formatSize({ width, height }), channels: channels === 1 ? 1 : 3 } as const
}
