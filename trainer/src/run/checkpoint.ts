import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { UserError } from '@ddpm/shared'
import { flatten, type Layout, type NamedTensors, unflatten } from '../network/parameters.ts'
import type { UNetConfig } from '../network/unet.ts'
import type { TrainingState } from '../step/engine.ts'
import { writeAtomically } from '../support/files.ts'
import { Damaged, decodeSafetensors, encodeSafetensors } from './safetensors.ts'

/** Where a run is, beside its weights. */
export interface Progress {
  /** Steps done. */
  readonly step: number
  /** Wall time spent training, in seconds. */
  readonly seconds: number
  readonly loss: number | null
  readonly validationLoss: number | null
}

export interface Checkpoint {
  readonly progress: Progress
  readonly state: TrainingState
  /** Tables that are not trained, as they were found. */
  readonly tables: ReadonlyMap<string, Float32Array>
}

const formatVersion = 1
const parts = { parameters: '', ema: 'ema.', firstMoment: 'adam.m.', secondMoment: 'adam.v.' } as const
type Part = keyof typeof parts

function checkpointPath(folder: string, step: number): string {
  return join(folder, 'checkpoints', `step-${String(step).padStart(8, '0')}.safetensors`)
}

/** The checkpoints of a run, oldest first. */
export function listCheckpoints(folder: string): string[] {
  const inside = join(folder, 'checkpoints')
  let names: string[]
  try {
    names = readdirSync(inside)
  } catch {
    return []
  }
  return names
    .filter((name) => /^step-\d+\.safetensors$/.test(name))
    .sort()
    .map((name) => join(inside, name))
}

/** Steps done, from a checkpoint's name. */
export function stepOfCheckpoint(path: string): number {
  return Number(/\d+/.exec(basename(path))![0])
}

/**
 * Saves a checkpoint of a run. Raw weights carry their PyTorch names, so the file is itself a state_dict; `ema.`,
 * `adam.m.` and `adam.v.` precede the names of the rest.
 * @param network written beside the weights, so that a reader can say in which field it differs
 * @returns the file's path
 * @throws CannotWrite; the checkpoints before it are then still there
 */
export function saveCheckpoint(
  folder: string,
  layout: Layout,
  { progress, state, tables }: Checkpoint,
  network?: UNetConfig,
): string {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const { name, shape } of layout.tables) tensors.set(name, { shape, data: tables.get(name)! })
  for (const [part, prefix] of Object.entries(parts) as [Part, string][]) {
    for (const [name, tensor] of unflatten(layout, state[part])) tensors.set(prefix + name, tensor)
  }
  const path = checkpointPath(folder, progress.step)
  const metadata = {
    format: 'ddpm-checkpoint',
    version: String(formatVersion),
    progress: JSON.stringify(progress),
    crc32: checksum(tensors),
    ...(network && { network: JSON.stringify(network) }),
  }
  writeAtomically(path, encodeSafetensors({ tensors, metadata }))
  return path
}

/** Of all values in their order: finds what a disk or a copy spoiled, which a file's length does not. */
function checksum(tensors: NamedTensors): string {
  let sum = 0
  for (const { data } of tensors.values())
    sum = crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), sum)
  return sum.toString(16)
}

/** How many parts of a run leave a checkpoint behind. */
const milestones = 10

/**
 * Which checkpoints stay: the latest ones, to go on from when the very last is spoiled, and the first of each tenth of
 * the run, to look back at.
 * @param steps of the checkpoints, rising
 * @param total steps of the run
 * @param latest how many of the latest
 */
export function keptSteps(steps: readonly number[], total: number, latest: number): number[] {
  const tenth = (step: number) => Math.floor((step * milestones) / total)
  return steps.filter(
    (step, i) => i >= steps.length - latest || tenth(step) > (i === 0 ? 0 : tenth(steps[i - 1]!)),
  )
}

/** How many checkpoints of a run are there at once at most, the one that is being written included. */
export function maxCheckpoints(latest: number): number {
  return milestones + latest
}

/** Bytes of a checkpoint, but for its header. */
export function checkpointSize({ size }: Layout): number {
  return Object.keys(parts).length * size * Float32Array.BYTES_PER_ELEMENT
}

/** Removes the checkpoints of a run that need not be kept. */
export function thinCheckpoints(folder: string, total: number, latest: number): void {
  const all = listCheckpoints(folder)
  const kept = new Set(keptSteps(all.map(stepOfCheckpoint), total, latest))
  for (const path of all) if (!kept.has(stepOfCheckpoint(path))) rmSync(path)
}

/**
 * Reads a checkpoint.
 * @param network what it is read for; any other is refused field by field
 * @throws Damaged where the file is not whole; UserError where it is of a newer version or of another network
 */
export function readCheckpoint(path: string, layout: Layout, network?: UNetConfig): Checkpoint {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new Damaged(`Cannot read the checkpoint ${path}: ${(error as Error).message}.`)
  }
  const { tensors, metadata } = decodeSafetensors(bytes, path)
  const { format, version, crc32: sum } = metadata
  if (format !== 'ddpm-checkpoint') {
    throw new UserError(
      `${path} is not a checkpoint (found the format "${format ?? 'none'}", expected "ddpm-checkpoint"). ` +
        `Weights from elsewhere come in with: npm run import -- ${path}`,
    )
  }
  if (Number(version) !== formatVersion) {
    throw new UserError(
      `${path} is a checkpoint of version ${version}; this program reads version ${formatVersion}. ` +
        (Number(version) > formatVersion ? 'A newer one wrote it: update this one.' : 'Train again.'),
    )
  }
  if (network && metadata['network'] !== undefined)
    compareNetworks(path, JSON.parse(metadata['network']), network)
  if (sum !== undefined && sum !== checksum(tensors)) {
    throw new Damaged(
      `${path} is damaged: its values have the checksum ${checksum(tensors)}, expected ${sum}.`,
    )
  }
  const tableNames = new Set(layout.tables.map(({ name }) => name))
  const part = (prefix: string): Float32Array => {
    const own: NamedTensors = new Map(
      [...tensors]
        .filter(([name]) => partOf(name) === prefix && !tableNames.has(name))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    )
    return flatten(layout, own, path)
  }
  return {
    progress: JSON.parse(metadata['progress']!),
    state: {
      parameters: part(parts.parameters),
      ema: part(parts.ema),
      firstMoment: part(parts.firstMoment),
      secondMoment: part(parts.secondMoment),
    },
    tables: new Map(
      [...tensors].filter(([name]) => tableNames.has(name)).map(([name, { data }]) => [name, data]),
    ),
  }
}

function partOf(name: string): string {
  return Object.values(parts).find((prefix) => prefix !== '' && name.startsWith(prefix)) ?? ''
}

/** What changes how a network is trained, not what it computes from its weights. */
const free = new Set<string>(['dropout', 'dropoutUnit', 'zeroInit'] satisfies (keyof UNetConfig)[])

/** @throws UserError naming each field that a checkpoint's network has otherwise; fields it does not know are not compared */
function compareNetworks(path: string, found: Record<string, unknown>, expected: UNetConfig): void {
  const differences = Object.entries(expected)
    .map(([field, value]) => [field, JSON.stringify(found[field]), JSON.stringify(value)] as const)
    .filter(([field, is, wanted]) => is !== undefined && is !== wanted && !free.has(field))
  if (differences.length === 0) return
  throw new UserError(
    `${path} is of another network than its run's config.json describes:` +
      differences.map(([field, is, wanted]) => `\n  ${field}: found ${is}, expected ${wanted}`).join('') +
      '\nPut the checkpoint back where it came from, or restore the config.json that belongs to it.',
  )
}
