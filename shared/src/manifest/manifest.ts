import { UserError } from '../base/errors.ts'
import { timestepSpacings } from '../planning/levels.ts'
import { samplers } from '../planning/samplers.ts'
import { schedulerConfig } from './scheduler-config.ts'
import '../base/zod.ts'
import * as z from 'zod'

/** The manifest format this code writes; a reader refuses later ones. */
export const manifestVersion = 1

/** A SHA-256 in hexadecimal. */
export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 as 64 lower-case hexadecimal digits')

const part = '[A-Za-z0-9][A-Za-z0-9._-]{0,63}'

/** One half of a model's name: letters, digits, dot, hyphen and underscore, starting with a letter or digit. */
export const namePart = z.string().regex(new RegExp(`^${part}$`))

/** `owner/name`. */
export const modelName = z
  .string()
  .regex(
    new RegExp(`^${part}/${part}$`),
    'expected owner/name made of letters, digits, ".", "-" and "_", at most 64 characters each',
  )

const file = z.strictObject({
  /**
   * What the file is for: 'graph' is the ONNX model, 'graph-fp16' the same with its weights stored in half precision,
   * 'preview' a grid of samples.
   */
  role: z.enum(['graph', 'graph-fp16', 'preview']),
  path: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'expected a plain file name'),
  mediaType: z
    .string()
    .regex(/^[a-z]+\/[a-z0-9.+-]+$/, 'expected a media type such as application/octet-stream'),
  bytes: z.int().positive(),
  sha256,
})
export type ManifestFile = z.infer<typeof file>

/** The schema of a manifest, for those who describe or check it. */
export const manifestSchema = z.strictObject({
  version: z.literal(manifestVersion),
  name: modelName,
  description: z.string(),
  licence: z.string(),
  /** Of one picture; values are in [−1, 1]. */
  shape: z.strictObject({
    channels: z.int().positive(),
    height: z.int().positive(),
    width: z.int().positive(),
  }),
  /** Names of the classes, in the order of their labels; empty where the model knows none. */
  classes: z.array(z.string()),
  files: z
    .array(file)
    .refine((files) => files.filter(({ role }) => role === 'graph').length === 1, {
      error: 'expected exactly one file with the role "graph"',
    })
    .refine((files) => files.filter(({ role }) => role === 'graph-fp16').length <= 1, {
      error: 'expected at most one file with the role "graph-fp16"',
    }),
  /** Names in the ONNX graph. `label` holds a class index, or the number of classes for "no class". */
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
  /** What a page offers first. */
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

/** What is published beside a model. */
export type Manifest = z.infer<typeof manifestSchema>

/**
 * Reads a manifest.
 * @param text JSON
 * @param source what to call it in messages: a path or a URL
 * @throws UserError that lists every field that is wrong and what was expected there
 */
export function parseManifest(text: string, source: string): Manifest {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new UserError(`${source} is not JSON (${(error as Error).message}); expected a model's manifest.`)
  }
  const version = (json as { version?: unknown } | null)?.version
  if (typeof version === 'number' && version > manifestVersion) {
    throw new UserError(
      `${source} has manifest version ${version}; this program reads up to ${manifestVersion}. Update the program.`,
    )
  }
  const result = manifestSchema.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`${source} is not a valid manifest:\n${z.prettifyError(result.error)}`)
}

/** A manifest as the JSON text that is hashed, stored and served: its fields come in the order of the schema. */
export function formatManifest(value: Manifest): string {
  return `${JSON.stringify(manifestSchema.parse(value), null, 2)}\n`
}

/** How the weights of an ONNX file are stored. Arithmetic is in float32 either way. */
export const dtypes = ['fp32', 'fp16'] as const
export type Dtype = (typeof dtypes)[number]

/** The ONNX file of a model. */
export function graphFile({ files }: Manifest): ManifestFile {
  return files.find(({ role }) => role === 'graph')!
}

/** The one whose weights are stored in half precision, half as large; null where none was exported. */
export function halfGraphFile({ files }: Manifest): ManifestFile | null {
  return files.find(({ role }) => role === 'graph-fp16') ?? null
}
