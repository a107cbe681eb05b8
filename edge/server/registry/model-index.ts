// The index: one object with a line for every published model, so that a listing or a search reads one object instead of
// one record per model.
//
// Records are the source of truth. A change writes its record first, then the model's line. Both writes are
// compare-and-swap. A writer of the index reads the index before the record: if another writer replaced the index in the
// meantime, its write fails and it reads both again. So the last write of the index contains the newest record.
//
// An index that is missing, or has another format, is built from the records in steps of `maxRecordsRead`. If a process
// ends between its two writes, the model's line is outdated until the change is repeated, or until the next garbage
// collection, which builds the index again.
import { readText, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'
import { maxAttempts, pauseBeforeAttempt } from './locks.ts'
import { type ModelSummary, readRecord } from './record.ts'

/** Maximum number of records that one request reads. A Worker may make about 1000 storage requests per request. */
export const maxRecordsRead = 900
/** Number of records that are read at the same time. */
const batchSize = 100

export interface ModelIndex {
  /** Version of the stored object; null if the index is not stored. */
  readonly version: string | null
  /** Key of the last record that is in the index, '' if none is; null if all of them are. */
  readonly covered: string | null
  /** One line per model, sorted by the keys of their records: name, text to search in, summary in JSON. */
  readonly lines: readonly string[]
}

const missing: ModelIndex = { version: null, covered: '', lines: [] }

/** The last index read from each store. It is valid as long as the stored object has the same version. */
const lastRead = new WeakMap<Storage, ModelIndex>()

/** Reads the index. If it has not changed since the last call, this costs one `head`. */
export async function readIndex(storage: Storage): Promise<ModelIndex> {
  const last = lastRead.get(storage)
  if (last !== undefined) {
    const version = (await storage.head(keys.index))?.version ?? null
    if (version === last.version) return last
    if (version === null) return missing
  }
  const stored = await readText(storage, keys.index)
  if (stored === null) return missing
  const index = { ...parse(stored.text), version: stored.version }
  lastRead.set(storage, index)
  return index
}

/** Reads the index like `readIndex`. If it is incomplete, adds up to `maxRecordsRead` models. */
export async function completeIndex(storage: Storage): Promise<ModelIndex> {
  const index = await readIndex(storage)
  if (index.covered === null) return index
  const extended = await extend(storage, index)
  try {
    return (await write(storage, extended)) ?? (await readIndex(storage))
  } catch {
    // The store may be read-only for this process. The next steps then continue in memory.
    lastRead.set(storage, extended)
    return extended
  }
}

/**
 * Writes a model's line after its record was changed.
 * @throws RegistryError "conflict" if other publishers write the index all the time. The record is written already.
 */
export async function updateIndex(storage: Storage, name: string): Promise<void> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    await pauseBeforeAttempt(attempt)
    const index = await extend(storage, await readIndex(storage))
    const summary = (await readRecord(storage, name))?.record.summary ?? null
    if (await write(storage, withModel(index, name, summary))) return
  }
  throw new RegistryError(
    'conflict',
    `Cannot add ${name} to the list of models: other publishers changed the list at the same time. Try again.`,
  )
}

/**
 * Replaces the index, unless it was changed since `current` was read.
 * @param summaries of all published models
 */
export async function replaceIndex(
  storage: Storage,
  current: ModelIndex,
  summaries: readonly ModelSummary[],
): Promise<void> {
  const entries = summaries.map((summary) => [keys.record(summary.name), toLine(summary)] as const)
  const lines = entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line)
  await write(storage, { ...current, covered: null, lines })
}

/** Returns the position of the first line whose record has a key greater than this one. */
export function positionAfter({ lines }: ModelIndex, key: string): number {
  let [from, to] = [0, lines.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if (keys.record(nameOf(lines[middle]!)) <= key) from = middle + 1
    else to = middle
  }
  return from
}

/** Returns whether the model's name, description or classes contain all of these lower-case words. */
export function containsWords(line: string, words: readonly string[]): boolean {
  const text = line.slice(0, line.indexOf('\t', line.indexOf('\t') + 1))
  return words.every((word) => text.includes(word))
}

export const nameOf = (line: string): string => line.slice(0, line.indexOf('\t'))

export const summaryOf = (line: string): ModelSummary =>
  JSON.parse(line.slice(line.lastIndexOf('\t') + 1)) as ModelSummary

/** Adds the next `maxRecordsRead` records to an incomplete index. */
async function extend(storage: Storage, index: ModelIndex): Promise<ModelIndex> {
  if (index.covered === null) return index
  const after = index.covered === '' ? {} : { after: index.covered }
  const { objects, more } = await storage.list(keys.records, { limit: maxRecordsRead, ...after })
  const names = objects.flatMap(({ key }) => keys.nameOf(key) ?? [])
  const lines = [...index.lines]
  for (let from = 0; from < names.length; from += batchSize) {
    const batch = names.slice(from, from + batchSize).map((name) => readRecord(storage, name))
    for (const stored of await Promise.all(batch)) {
      if (stored?.record.summary) lines.push(toLine(stored.record.summary))
    }
  }
  return { ...index, lines, covered: more ? objects.at(-1)!.key : null }
}

/** Sets or removes a model's line. An incomplete index does not contain later models. */
function withModel(index: ModelIndex, name: string, summary: ModelSummary | null): ModelIndex {
  const key = keys.record(name)
  if (index.covered !== null && key > index.covered) return index
  const lines = [...index.lines]
  const after = positionAfter(index, key)
  const isListed = after > 0 && nameOf(lines[after - 1]!) === name
  const line = summary === null ? [] : [toLine(summary)]
  lines.splice(isListed ? after - 1 : after, isListed ? 1 : 0, ...line)
  return { ...index, lines }
}

/** Writes an index over the version it was made from. Returns null if another writer was faster. */
async function write(storage: Storage, { version, covered, lines }: ModelIndex): Promise<ModelIndex | null> {
  // The random part changes R2's entity tag, which is a hash of the content: every write must be noticed.
  const header = [format, crypto.randomUUID(), covered === null ? 'complete' : `up to ${covered}`].join('\t')
  const options = { mediaType: 'text/tab-separated-values' }
  const onlyIf = version === null ? ('absent' as const) : { version }
  const written = await storage.put(keys.index, [header, ...lines].join('\n'), { ...options, onlyIf })
  if (written === null) return null
  const index = { version: written.version, covered, lines }
  lastRead.set(storage, index)
  return index
}

/** Must change with the format of the lines, or with the schema of summaries. */
const format = 'ddpm-models 1'

function parse(text: string): Omit<ModelIndex, 'version'> {
  const [header = '', ...lines] = text.split('\n')
  const [stored, , extent = ''] = header.split('\t')
  if (stored !== format) return missing
  return { lines, covered: extent === 'complete' ? null : extent.slice('up to '.length) }
}

function toLine(summary: ModelSummary): string {
  const { name, description, classes } = summary
  const text = [name, description, ...classes].join(' ').toLowerCase().replace(/\s+/g, ' ')
  return [name, text, JSON.stringify(summary)].join('\t')
}
