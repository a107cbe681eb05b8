// Schemas of the API's requests and responses. They validate requests, type the client and generate the OpenAPI
// description.

import { modelName, namePart, sha256 } from '@ddpm/shared'
import { z } from '@hono/zod-openapi'
import { problemSchema } from '../http/problem.ts'
import { aliasName, modelSummary, versionId } from '../registry/record.ts'

export const modelParams = z.object({ owner: namePart, name: namePart })
/** A version is referenced by its hash, by at least the first 12 digits of it, or by an alias. */
export const versionParams = modelParams.extend({ version: z.string().max(64) })
export const exactVersionParams = modelParams.extend({ version: versionId })
export const aliasParams = modelParams.extend({ alias: aliasName })

export const listQuery = z.object({
  q: z.string().max(200).optional().openapi({ description: 'words to find in name, description or classes' }),
  limit: z.coerce.number().int().min(1).max(100).default(50),
  after: modelName.optional().openapi({ description: '`next` of the previous page' }),
})

export const modelList = z
  .object({
    models: z.array(modelSummary),
    next: z.string().nullable().openapi({ description: '`after` of the next page; null on the last page' }),
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

export const verifyBody = z.object({ sha256, bytes: z.int().positive() })
export const verified = z.object({ state: z.enum(['intact', 'damaged', 'missing']) }).openapi('Verified')

/** Describes a JSON response of a route. */
export const json = <T>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
})

/** Describes the error responses of a route. */
export function problems<Status extends number>(...statuses: Status[]) {
  const response = {
    description: 'what is wrong, what was expected and what to do',
    content: { 'application/problem+json': { schema: problemSchema } },
  }
  return Object.fromEntries(statuses.map((status) => [status, response])) as {
    [S in Status]: typeof response
  }
}
