import { UserError } from '../base/errors.ts'
import { timestepSpacings } from '../planning/levels.ts'
import { samplers } from '../planning/samplers.ts'
import { schedulerConfig } from './scheduler-schema.ts'
import '../base/zod.ts'
import * as z from 'zod'

/** Version of the manifest format. Manifests of later versions are rejected. */
export const manifestVersion = 1

/** Schema of a SHA-256 in hexadecimal. */
export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 as 64 lower-case hexadecimal digits')

/** Excludes "..", which is not safe in the paths of a folder. */
const part = '(?![^/]*\\.\\.)[A-Za-z0-9][A-Za-z0-9._-]{0,63}'

/**
 * Schema of the owner or the name of a model: letters, digits, dot, hyphen and underscore; starts with a letter or
 * digit, and contains no two dots in a row.
 */
export const namePart = z.string().regex(new RegExp(`^${part}$`))

/** Schema of a model name: `owner/name`. */
export const modelName = z
  .string()
  .regex(
    new RegExp(`^${part}/${part}$`),
    'expected owner/name made of letters, digits, ".", "-" and "_", without "..", at most 64 characters each',
  )

/** Media types of a model's files. Excludes types that a browser would render or run as a page of the server's origin. */
export const mediaTypes = [
  'application/octet-stream',
  'application/json',
  'image/png',
  'image/jpeg',
  'image/webp',
] as const

const file = z.strictObject({
  /**
   * Purpose of the file: 'graph' is the ONNX model, 'graph-fp16' is the same model with weights stored in half precision,
   * 'preview' is a grid of samples.
   */
  role: z.enum(['graph', 'graph-fp16', 'preview']),
  path: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'expected a plain file name'),
  mediaType: z.enum(mediaTypes),
  bytes: z.int().positive(),
  sha256,
})
export type ManifestFile = z.infer<typeof file>

/** Schema of a manifest. */
export const manifestSchema = z.strictObject({
  version: z.literal(manifestVersion),
  name: modelName,
  description: z.string(),
  licence: z.string(),
  /** Shape of one image. Values are in [−1, 1]. */
  shape: z.strictObject({
    channels: z.int().positive(),
    height: z.int().positive(),
    width: z.int().positive(),
  }),
  /** Names of the classes, in the order of their labels. Empty if the model has no classes. */
  classes: z.array(z.string()),
  files: z
    .array(file)
    .refine((files) => files.filter(({ role }) => role === 'graph').length === 1, {
      error: 'expected exactly one file with the role "graph"',
    })
    .refine((files) => files.filter(({ role }) => role === 'graph-fp16').length <= 1, {
      error: 'expected at most one file with the role "graph-fp16"',
    }),
  /**
   * Names of the ONNX graph's inputs; null if the graph has no label. A label is a class index, or the number of classes for
   * "no class".
   */
  inputs: z.strictObject({ sample: z.string(), timestep: z.string(), label: z.string().nullable() }),
  output: z.string(),
  training: z.strictObject({
    recipe: z.string(),
    data: z.string(),
    pictures: z.int().nonnegative(),
    parameters: z.int().positive(),
    steps: z.int().nonnegative(),
    batchSize: z.int().nonnegative(),
    seconds: z.number().nonnegative(),
    weights: z.enum(['ema', 'raw']),
    loss: z.number().nullable(),
    validationLoss: z.number().nullable(),
  }),
  scheduler: schedulerConfig,
  /** Default sampling options. */
  sampling: z.strictObject({
    sampler: z.enum(samplers),
    steps: z.int().positive(),
    spacing: z.enum(timestepSpacings),
    guidance: z.number().nonnegative(),
    guidanceRescale: z.number().min(0).max(1).exactOptional(),
    eta: z.union([z.number().min(0).max(1), z.literal('hat')]).exactOptional(),
    order: z.union([z.literal(1), z.literal(2), z.literal(3)]).exactOptional(),
  }),
})

/** The manifest that is published next to a model. */
export type Manifest = z.infer<typeof manifestSchema>

/**
 * Parses a manifest.
 * @param text JSON
 * @param source path or URL, for error messages
 * @throws UserError that lists every invalid field and what was expected
 */
export function parseManifest(text: string, source: string): Manifest {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new UserError(`Invalid manifest ${source}: expected JSON (${(error as Error).message}).`)
  }
  const version = (json as { version?: unknown } | null)?.version
  if (typeof version === 'number' && version > manifestVersion) {
    throw new UserError(
      `Unsupported manifest ${source}: expected version ${manifestVersion} or earlier, got ${version}. ` +
        'Use a newer version of this program.',
    )
  }
  const result = manifestSchema.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`Invalid manifest ${source}:\n${z.prettifyError(result.error)}`)
}

/** Formats a manifest as the JSON text that is hashed, stored and served. Fields are in the order of the schema. */
export function formatManifest(value: Manifest): string {
  return `${JSON.stringify(manifestSchema.parse(value), null, 2)}\n`
}

/** Storage formats of the weights in an ONNX file. Arithmetic is in float32 for both. */
export const dtypes = ['fp32', 'fp16'] as const
export type Dtype = (typeof dtypes)[number]

/** Returns the ONNX file of a model. */
export function graphFile({ files }: Manifest): ManifestFile {
  return files.find(({ role }) => role === 'graph')!
}

/** Returns the ONNX file with half-precision weights (half the size), or null if none was exported. */
export function halfGraphFile({ files }: Manifest): ManifestFile | null {
  return files.find(({ role }) => role === 'graph-fp16') ?? null
}
