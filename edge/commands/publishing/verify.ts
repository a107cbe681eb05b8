import { formatManifest } from '@ddpm/shared'
import { sha256OfText } from '../../server/registry/publishing.ts'
import type { FileState } from '../../server/registry/verification.ts'
import type { ExportedModel } from './exported.ts'
import type { Registry } from './registry.ts'

/** A file of an exported model, and its state in the registry. */
export interface VerifiedFile {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  readonly state: FileState
}

/** Compares the stored files of a model, and its stored manifest, with their hashes. The registry reads them completely. */
export async function verifyModel(
  registry: Registry,
  { manifest, files }: ExportedModel,
): Promise<VerifiedFile[]> {
  const text = formatManifest(manifest)
  const manifestFile = {
    path: 'manifest.json',
    sha256: sha256OfText(text),
    bytes: new TextEncoder().encode(text).length,
  }
  const verified: VerifiedFile[] = []
  for (const { path, sha256, bytes } of [...files, manifestFile]) {
    verified.push({ path, sha256, bytes, state: await registry.verify({ sha256, bytes }) })
  }
  return verified
}
