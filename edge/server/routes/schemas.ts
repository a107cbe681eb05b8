// What the API takes and gives: the same schemas check requests, type the client and make the OpenAPI description.

import { modelName, namePart, sha256 } from '@ddpm/shared'
import { z } from '@hono/zod-openapi'
import { problemSchema } from '../http/problem.ts'
import { aliasName, modelSummary, versionId } from '../registry/record.ts'

export const modelParams = z.object({ owner: namePart, name: namePart })
/** What names a version: the version itself, the first 12 or more digits of it, or an alias. */
export const versionParams = modelParams.extend({ version: z.string().max(64) })
export const exactVersionParams = modelParams.extend({ version: versionId })
export const aliasParams = modelParams.extend({ alias: aliasName })

export const listQuery = z.object({
  q: z.string().max(200).optional().openapi({ description: 'words that name, description or classes hold' }),
  limit: z.coerce.number().int().min(1).max(100).default(50),
  after: modelName.optional().openapi({ description: '`next` of the page before' }),
})

export const modelList = z
  .object({
    models: z.array(modelSummary),
    next: z.string().nullable().openapi({ description: 'where the next page begins; null at the end' }),
  })
  .openapi('ModelList')

export const modelVersions = z
  .object({
    name: z.string(),
    versions: z.array(z.object({ version: versionId, published: z.iso.datetime() })),
    aliases: z.record(z.string(), versionId),
  })
  .openapi('ModelVersions')

export const begun = z
  .object({
    version: versionId,
    missing: z.array(z.object({ path: z.string(), sha256, bytes: z.int(), mediaType: z.string() })),
  })
  .openapi('Begun')

export const commitBody = z.object({ aliases: z.array(aliasName).max(20).default([]) })
export const committed = z.object({ change: z.enum(['new', 'changed', 'unchanged']) }).openapi('Committed')
export const aliasBody = z.object({ version: z.string().max(64) })
export const aliased = z.object({ version: versionId }).openapi('Aliased')

export const collectBody = z.object({
  dryRun: z.boolean().default(false),
  keepDays: z.number().min(0).max(3650).default(1),
})
export const collected = z
  .object({
    removed: z.array(z.object({ sha256: z.string(), bytes: z.int() })),
    bytes: z.int(),
    kept: z.int(),
  })
  .openapi('Collected')

/** An answer as JSON, for a route's description. */
export const json = <T>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
})

/** The errors of a route: they are thrown, and answered as problems. */
export function problems<Status extends number>(...statuses: Status[]) {
  const answer = {
    description: 'what was found and what to do',
    content: { 'application/problem+json': { schema: problemSchema } },
  }
  return Object.fromEntries(statuses.map((status) => [status, answer])) as { [S in Status]: typeof answer }
}
