import type { Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'
import { type ModelSummary, readRecord } from './record.ts'

/** Number of records that a search reads at once. It is large, because few records may match. */
const searchBatch = 100
/** Maximum number of records that one page reads. A Worker may make about 1000 storage requests per request. */
export const maxRecordsRead = 900

/**
 * Lists one page of models, sorted by their keys in the store.
 * @param options.query words that name, description or classes must contain, case-insensitive
 * @param options.after name of the last model of the previous page
 * @param options.limit maximum number of models on the page
 * @returns the models, and `next`, the value of `after` for the next page; null on the last page. A page ends early if
 * it has read `maxRecordsRead` records. It may then contain few models, or none, although a next page exists.
 */
export async function listModels(
  storage: Storage,
  { query = '', after, limit }: { query?: string | undefined; after?: string | undefined; limit: number },
): Promise<{ models: ModelSummary[]; next: string | null }> {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  const models: ModelSummary[] = []
  let from = after === undefined ? undefined : keys.record(after)
  for (let left = maxRecordsRead; ; ) {
    // Without words nearly every record matches. One more than the page needs shows whether there is a next page.
    const batch = Math.min(left, words.length > 0 ? searchBatch : limit + 1 - models.length)
    const { objects, more } = await storage.list(keys.records, { limit: batch, ...(from && { after: from }) })
    const names = objects.flatMap(({ key }) => keys.nameOf(key) ?? [])
    const records = await Promise.all(names.map((name) => readRecord(storage, name)))
    for (const summary of records.map((stored) => stored?.record.summary)) {
      if (!summary || !words.every((word) => searchText(summary).includes(word))) continue
      if (models.length === limit) return { models, next: models.at(-1)!.name }
      models.push(summary)
    }
    from = objects.at(-1)?.key
    left -= batch
    if (!more || from === undefined) return { models, next: null }
    if (left === 0) return { models, next: keys.nameOf(from) }
  }
}

function searchText({ name, description, classes }: ModelSummary): string {
  return [name, description, ...classes].join('\n').toLowerCase()
}
