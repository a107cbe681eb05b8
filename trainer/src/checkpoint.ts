import {
  appendFileSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { TrainingState } from './engines/engine.ts'
import { flatten, type Layout, type NamedTensors, unflatten } from './parameters.ts'
import { decodeSafetensors, encodeSafetensors } from './safetensors.ts'

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

/** Carries out a change of files; what the system refuses becomes a message about `path`. */
function changing(path: string, change: () => void): void {
  try {
    change()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new UserError(`Cannot write ${path}: ${message}. Make room, or choose another folder.`)
  }
}

/**
 * Writes a file so that it is there whole or not at all: beside its place first, then moved over it.
 * @throws UserError where it cannot be written; what was there before is then still there
 */
export function writeAtomically(path: string, bytes: Uint8Array | string): void {
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const draft = `${path}.part`
  changing(path, () => {
    mkdirSync(dirname(path), { recursive: true })
    try {
      writeWhole(draft, data)
      renameSync(draft, path)
    } catch (error) {
      rmSync(draft, { force: true })
      throw error
    }
  })
}

/** Writes a file and waits until it is on the disk. */
function writeWhole(path: string, data: Uint8Array): void {
  const file = openSync(path, 'w')
  try {
    for (let written = 0; written < data.length; ) written += writeSync(file, data, written)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Adds a line to a file. */
export function appendLine(path: string, line: string): void {
  changing(path, () => appendFileSync(path, `${line}\n`))
}

const formatVersion = '1'
const parts = { parameters: '', ema: 'ema.', firstMoment: 'adam.m.', secondMoment: 'adam.v.' } as const
type Part = keyof typeof parts

/** How many of the latest checkpoints are kept. */
const kept = 2

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

/**
 * Saves a checkpoint of a run and removes all but the latest ones. Raw weights carry their PyTorch names, so the file is
 * itself a state_dict; `ema.`, `adam.m.` and `adam.v.` precede the names of the rest.
 * @returns the file's path
 */
export function saveCheckpoint(
  folder: string,
  layout: Layout,
  { progress, state, tables }: Checkpoint,
): string {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const { name, shape } of layout.tables) tensors.set(name, { shape, data: tables.get(name)! })
  for (const [part, prefix] of Object.entries(parts) as [Part, string][]) {
    for (const [name, tensor] of unflatten(layout, state[part])) tensors.set(prefix + name, tensor)
  }
  const path = checkpointPath(folder, progress.step)
  const metadata = { format: 'ddpm-checkpoint', version: formatVersion, progress: JSON.stringify(progress) }
  writeAtomically(path, encodeSafetensors({ tensors, metadata }))
  for (const old of listCheckpoints(folder).slice(0, -kept)) rmSync(old)
  return path
}

/**
 * Reads a checkpoint.
 * @throws UserError where the file is damaged, of another version, or of another network
 */
export function readCheckpoint(path: string, layout: Layout): Checkpoint {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new UserError(`Cannot read the checkpoint ${path}: ${(error as Error).message}.`)
  }
  const { tensors, metadata } = decodeSafetensors(bytes, path)
  if (metadata['format'] !== 'ddpm-checkpoint' || metadata['version'] !== formatVersion) {
    throw new UserError(
      `${path} is not a checkpoint of version ${formatVersion} (found format "${metadata['format'] ?? 'none'}", ` +
        `version "${metadata['version'] ?? 'none'}"). Weights from elsewhere come in with: npm run import -- ${path}`,
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
