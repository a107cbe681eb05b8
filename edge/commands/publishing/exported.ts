import { createHash } from 'node:crypto'
import { createReadStream, existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Manifest, parseManifest, UserError } from '@ddpm/shared'
import { quote } from '@ddpm/shared/cli'

/** A file of an exported model. */
export interface ExportedFile {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  readonly mediaType: string
}

/** An exported model whose files were verified. */
export interface ExportedModel {
  /** The folder that contains manifest.json. */
  readonly folder: string
  readonly manifest: Manifest
  readonly files: readonly ExportedFile[]
}

/** Fields of the manifest that the publisher may override. */
export type Overrides = Partial<Pick<Manifest, 'name' | 'description' | 'licence'>>

/** Formats a number of bytes as megabytes with one decimal, without the unit. */
export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

/** Drops undefined overrides, so that the manifest's own fields remain. */
export function definedOverrides({ name, description, licence }: Overrides): Overrides {
  return {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(licence !== undefined && { licence }),
  }
}

/**
 * Reads an exported model and verifies every file against its manifest.
 * @param folder an export folder, or a run folder that contains `export/`
 * @throws UserError if the folder contains no export, or a file does not match the manifest
 */
export async function readExported(folder: string, overrides: Overrides = {}): Promise<ExportedModel> {
  const exported = findExportFolder(folder)
  const manifestPath = join(exported, 'manifest.json')
  const original = parseManifest(await readFile(manifestPath, 'utf8'), manifestPath)
  const text = JSON.stringify({ ...original, ...overrides })
  const manifest = parseManifest(text, `${manifestPath} with your options`)
  const files: ExportedFile[] = []
  for (const file of manifest.files) {
    const path = join(exported, file.path)
    await verify(path, file)
    files.push({ path, sha256: file.sha256, bytes: file.bytes, mediaType: file.mediaType })
  }
  return { folder: exported, manifest, files }
}

function findExportFolder(folder: string): string {
  if (!existsSync(folder)) {
    throw new UserError(
      `Cannot find the folder "${folder}": expected an exported model or the folder of a training run.`,
    )
  }
  if (!statSync(folder).isDirectory()) {
    throw new UserError(
      `Invalid folder "${folder}": it is a file. Expected the folder of an exported model or of a training run.`,
    )
  }
  const exported = [folder, join(folder, 'export')].find((path) => existsSync(join(path, 'manifest.json')))
  if (exported !== undefined) return exported
  throw new UserError(
    `Invalid folder "${folder}": it contains neither manifest.json nor export/manifest.json. ` +
      `If it is a training run, export it first: npm run export -- ${quote(folder)}`,
  )
}

async function verify(path: string, expected: Manifest['files'][number]): Promise<void> {
  const remedy = 'The export is incomplete or damaged. Export the model again.'
  if (!existsSync(path)) throw new UserError(`Missing file ${path}: the manifest lists it. ${remedy}`)
  const { size } = statSync(path)
  if (size !== expected.bytes) {
    throw new UserError(
      `Invalid file ${path}: expected ${expected.bytes} bytes (manifest), got ${size}. ${remedy}`,
    )
  }
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  const sha256 = hash.digest('hex')
  if (sha256 !== expected.sha256) {
    throw new UserError(
      `Invalid file ${path}: expected the SHA-256 ${expected.sha256} (manifest), got ${sha256}. ${remedy}`,
    )
  }
}
