import type { Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'
import { type ModelSummary, readRecord } from './record.ts'

/** So many records are read at once where words are looked for, which few of them may hold. */
const searched = 100
/** How many records one page of the list reads at most: a Worker may ask its store about 1000 times a request. */
export const scanned = 900

/**
 * A page of the list of models, in the order of their keys in the store.
 * @param query words that name, description or classes must hold, in any case
 * @param after the name at which the page before ended
 * @returns `next`, the name to go on after, or null where nothing more matches. A page is full where more matches;
 * only after `scanned` records it may be short, or empty, and yet have a next one
 */
export async function listModels(
  storage: Storage,
  { query = '', after, limit }: { query?: string | undefined; after?: string | undefined; limit: number },
): Promise<{ models: ModelSummary[]; next: string | null }> {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  const models: ModelSummary[] = []
  let from = after === undefined ? undefined : keys.record(after)
  for (let left = scanned; ; ) {
    // Without words nearly every record counts. One more than the page says whether there is a next.
    const batch = Math.min(left, words.length > 0 ? searched : limit + 1 - models.length)
    const { objects, more } = await storage.list(keys.records, { limit: batch, ...(from && { after: from }) })
    const names = objects.flatMap(({ key }) => keys.nameOf(key) ?? [])
    const records = await Promise.all(names.map((name) => readRecord(storage, name)))
    for (const summary of records.map((found) => found?.record.summary)) {
      if (!summary || !words.every((word) => searchable(summary).includes(word))) continue
      if (models.length === limit) return { models, next: models.at(-1)!.name }
      models.push(summary)
    }
    from = objects.at(-1)?.key
    left -= batch
    if (!more || from === undefined) return { models, next: null }
    if (left === 0) return { models, next: keys.nameOf(from) }
  }
}

function searchable({ name, description, classes }: ModelSummary): string {
  return [name, description, ...classes].join('\n').toLowerCase()
}
