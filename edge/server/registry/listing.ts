import type { Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'
import { completeIndex, containsWords, positionAfter, summaryOf } from './model-index.ts'
import type { ModelSummary } from './record.ts'

/**
 * Lists one page of models, sorted by their keys in the store.
 * @param options.query words that name, description or classes must contain, case-insensitive
 * @param options.after name of the last model of the previous page
 * @param options.limit maximum number of models on the page
 * @returns the models, and `next`, the value of `after` for the next page; null on the last page. While the index is
 * incomplete, a page may contain few models, or none, although a next page exists.
 */
export async function listModels(
  storage: Storage,
  { query = '', after, limit }: { query?: string | undefined; after?: string | undefined; limit: number },
): Promise<{ models: ModelSummary[]; next: string | null }> {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  const index = await completeIndex(storage)
  const afterKey = after === undefined ? '' : keys.record(after)
  const models: ModelSummary[] = []
  for (let i = positionAfter(index, afterKey); i < index.lines.length; i++) {
    const line = index.lines[i]!
    if (words.length > 0 && !containsWords(line, words)) continue
    if (models.length === limit) return { models, next: models.at(-1)!.name }
    models.push(summaryOf(line))
  }
  if (index.covered === null) return { models, next: null }
  // The next page continues after the models that the index contains so far.
  const covered = index.covered > afterKey ? keys.nameOf(index.covered) : null
  return { models, next: covered ?? models.at(-1)?.name ?? after ?? null }
}
