import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { crc32 } from 'node:zlib'
import { UserError } from '@ddpm/shared'
import { quote } from '@ddpm/shared/cli'
import type { UNetConfig } from '../network/config.ts'
import { flatten, type NamedTensors, type ParameterLayout, unflatten } from '../network/parameters.ts'
import type { TrainingState } from '../step/engine.ts'
import { writeAtomically } from '../support/files.ts'
import { DamagedFileError, decodeSafetensors, encodeSafetensors } from './safetensors.ts'

/** Progress of a run. */
export interface Progress {
  /** Number of completed steps. */
  readonly step: number
  /** Wall time of the training in seconds. */
  readonly seconds: number
  /** Smoothed training loss; null before the first step. */
  readonly loss: number | null
  readonly validationLoss: number | null
}

export interface Checkpoint {
  readonly progress: Progress
  readonly state: TrainingState
  /** Tables that are not trained, for example the time embedding. */
  readonly tables: ReadonlyMap<string, Float32Array>
}

const formatVersion = 1
/** Prefix of the tensor names of each part of the training state. */
const prefixes = { parameters: '', ema: 'ema.', firstMoment: 'adam.m.', secondMoment: 'adam.v.' } as const
type Part = keyof typeof prefixes

function checkpointPath(folder: string, step: number): string {
  return join(folder, 'checkpoints', `step-${String(step).padStart(8, '0')}.safetensors`)
}

/** Lists the checkpoints of a run, oldest first. */
export function listCheckpoints(folder: string): string[] {
  const checkpoints = join(folder, 'checkpoints')
  let names: string[]
  try {
    names = readdirSync(checkpoints)
  } catch {
    return []
  }
  return names
    .filter((name) => /^step-\d+\.safetensors$/.test(name))
    .sort()
    .map((name) => join(checkpoints, name))
}

/** Returns the number of completed steps from the name of a checkpoint. */
export function stepOfCheckpoint(path: string): number {
  return Number(/\d+/.exec(basename(path))![0])
}

/**
 * Saves a checkpoint of a run. The weights have their PyTorch names, so the file is a valid state_dict. The names of the
 * other tensors have the prefixes `ema.`, `adam.m.` and `adam.v.`.
 * @param network stored in the metadata, so that a reader can report the fields that differ
 * @returns the path of the file
 * @throws WriteError; older checkpoints are unchanged
 */
export function saveCheckpoint(
  folder: string,
  layout: ParameterLayout,
  { progress, state, tables }: Checkpoint,
  network?: UNetConfig,
): string {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const { name, shape } of layout.tables) tensors.set(name, { shape, data: tables.get(name)! })
  for (const [part, prefix] of Object.entries(prefixes) as [Part, string][]) {
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

/** Computes the CRC-32 of all values in order, to detect corruption that does not change the length of the file. */
function checksum(tensors: NamedTensors): string {
  let sum = 0
  for (const { data } of tensors.values())
    sum = crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), sum)
  return sum.toString(16)
}

/** Number of equal parts of a run. One checkpoint of each part is retained. */
const milestones = 10

/**
 * Selects the checkpoints to retain: the latest, to resume from if the last is damaged, and the first of each tenth of the
 * run, for comparison.
 * @param steps steps of the checkpoints, ascending
 * @param total steps of the run
 * @param latest number of latest checkpoints to retain
 */
export function retainedSteps(steps: readonly number[], total: number, latest: number): number[] {
  const tenth = (step: number) => Math.floor((step * milestones) / total)
  return steps.filter(
    (step, i) => i >= steps.length - latest || tenth(step) > (i === 0 ? 0 : tenth(steps[i - 1]!)),
  )
}

/** Returns the max number of checkpoints of a run at any time, including the one being written. */
export function maxCheckpoints(latest: number): number {
  return milestones + latest
}

/** Returns the size of a checkpoint in bytes, without its header. */
export function checkpointSize({ size }: ParameterLayout): number {
  return Object.keys(prefixes).length * size * Float32Array.BYTES_PER_ELEMENT
}

/** Removes the checkpoints of a run that `retainedSteps` does not select. */
export function removeOldCheckpoints(folder: string, total: number, latest: number): void {
  const all = listCheckpoints(folder)
  const retained = new Set(retainedSteps(all.map(stepOfCheckpoint), total, latest))
  for (const path of all) if (!retained.has(stepOfCheckpoint(path))) rmSync(path)
}

/**
 * Reads a checkpoint.
 * @param network the expected network, compared with the one in the metadata
 * @throws DamagedFileError if the file is damaged; UserError if it is of a newer version or of another network
 */
export function readCheckpoint(path: string, layout: ParameterLayout, network?: UNetConfig): Checkpoint {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new DamagedFileError(`Cannot read the checkpoint ${path}: ${(error as Error).message}.`)
  }
  const { tensors, metadata } = decodeSafetensors(bytes, path)
  const { format, version, crc32: sum } = metadata
  if (format !== 'ddpm-checkpoint') {
    throw new UserError(
      `${path} is not a checkpoint: expected the format "ddpm-checkpoint", got "${format ?? 'none'}". ` +
        `To import weights from another program: npm run import -- ${quote(path)}`,
    )
  }
  if (Number(version) !== formatVersion) {
    throw new UserError(
      `${path} is a checkpoint of version ${version}, but this program reads version ${formatVersion}. ` +
        (Number(version) > formatVersion ? 'Update the program.' : 'Train again.'),
    )
  }
  if (network && metadata['network'] !== undefined)
    compareNetworks(path, JSON.parse(metadata['network']), network)
  if (sum !== undefined && sum !== checksum(tensors)) {
    throw new DamagedFileError(`${path} is damaged: expected the checksum ${sum}, got ${checksum(tensors)}.`)
  }
  const tableNames = new Set(layout.tables.map(({ name }) => name))
  const part = (prefix: string): Float32Array => {
    const partTensors: NamedTensors = new Map(
      [...tensors]
        .filter(([name]) => partOf(name) === prefix && !tableNames.has(name))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    )
    return flatten(layout, partTensors, path)
  }
  return {
    progress: JSON.parse(metadata['progress']!),
    state: {
      parameters: part(prefixes.parameters),
      ema: part(prefixes.ema),
      firstMoment: part(prefixes.firstMoment),
      secondMoment: part(prefixes.secondMoment),
    },
    tables: new Map(
      [...tensors].filter(([name]) => tableNames.has(name)).map(([name, { data }]) => [name, data]),
    ),
  }
}

function partOf(name: string): string {
  return Object.values(prefixes).find((prefix) => prefix !== '' && name.startsWith(prefix)) ?? ''
}

/** Fields that affect the training, but not the output of a trained network. */
const ignoredFields = new Set<string>(['dropout', 'dropoutUnit', 'zeroInit'] satisfies (keyof UNetConfig)[])

/**
 * Compares the network of a checkpoint with the expected one. Fields that the checkpoint lacks are ignored.
 * @throws UserError naming each field that differs
 */
function compareNetworks(path: string, actual: Record<string, unknown>, expected: UNetConfig): void {
  const differences = Object.entries(expected)
    .map(([field, value]) => [field, JSON.stringify(actual[field]), JSON.stringify(value)] as const)
    .filter(([field, got, wanted]) => got !== undefined && got !== wanted && !ignoredFields.has(field))
  if (differences.length === 0) return
  throw new UserError(
    `The network of ${path} is not the one in config.json of its run:` +
      differences.map(([field, got, wanted]) => `\n  ${field}: expected ${wanted}, got ${got}`).join('') +
      '\nMove the checkpoint back to its run, or restore the config.json that belongs to it.',
  )
}
