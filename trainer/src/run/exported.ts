import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { graphFile, type Manifest, parseManifest, UserError } from '@ddpm/shared'

/** An exported model: its manifest and its ONNX file. */
export interface ExportedModel {
  readonly manifest: Manifest
  readonly graph: Uint8Array
}

/**
 * Reads an exported model. Returns null if the folder has no manifest.json.
 * @throws UserError if the manifest is invalid or its ONNX file is missing
 */
export function readExported(folder: string): ExportedModel | null {
  const manifestPath = join(folder, 'manifest.json')
  if (!existsSync(manifestPath)) return null
  const manifest = parseManifest(readFileSync(manifestPath, 'utf8'), manifestPath)
  const path = join(folder, graphFile(manifest).path)
  if (!existsSync(path)) {
    throw new UserError(`Missing file ${path}, which ${manifestPath} lists. Export the model again.`)
  }
  return { manifest, graph: readFileSync(path) }
}
