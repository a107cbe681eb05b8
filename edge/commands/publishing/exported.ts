import { createHash } from 'node:crypto'
import { createReadStream, existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Manifest, parseManifest, UserError } from '@ddpm/shared'
import type { RuntimeAsset } from '../hosting/runtime-files.ts'

/** What a person may say otherwise than the trainer did. */
export type Overrides = Partial<Pick<Manifest, 'name' | 'description' | 'licence'>>

/**
 * Reads an exported model and checks every file against its manifest.
 * @param folder an exported folder, or the folder of a training run that holds `export/`
 * @throws UserError that names the file, what was found, what was expected and what to do
 */
export async function readExported(
  folder: string,
  overrides: Overrides = {},
): Promise<{ manifest: Manifest; files: RuntimeAsset[] }> {
  const place = exportedFolder(folder)
  const manifestPath = join(place, 'manifest.json')
  const written = parseManifest(await readFile(manifestPath, 'utf8'), manifestPath)
  const named = JSON.stringify({ ...written, ...overrides })
  const manifest = parseManifest(named, `${manifestPath} with your options`)
  const files: RuntimeAsset[] = []
  for (const file of manifest.files) {
    const path = join(place, file.path)
    await check(path, file)
    files.push({ path, sha256: file.sha256, bytes: file.bytes, mediaType: file.mediaType })
  }
  return { manifest, files }
}

function exportedFolder(folder: string): string {
  if (!existsSync(folder)) {
    throw new UserError(
      `There is no folder "${folder}"; expected an exported model or the folder of a training run.`,
    )
  }
  if (!statSync(folder).isDirectory()) {
    throw new UserError(
      `"${folder}" is a file; expected the folder of an exported model or of a training run.`,
    )
  }
  const found = [folder, join(folder, 'export')].find((place) => existsSync(join(place, 'manifest.json')))
  if (found !== undefined) return found
  throw new UserError(
    `"${folder}" holds neither manifest.json nor export/manifest.json. If it is a training run, export it first: npm run export -- ${folder}`,
  )
}

async function check(path: string, expected: Manifest['files'][number]): Promise<void> {
  const remedy = 'The export is damaged or mixed; export the model again.'
  if (!existsSync(path)) throw new UserError(`${path} is missing; the manifest names it. ${remedy}`)
  const { size } = statSync(path)
  if (size !== expected.bytes) {
    throw new UserError(`${path} has ${size} bytes; the manifest says ${expected.bytes}. ${remedy}`)
  }
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  const sha256 = hash.digest('hex')
  if (sha256 !== expected.sha256) {
    throw new UserError(`${path} has the SHA-256 ${sha256}; the manifest says ${expected.sha256}. ${remedy}`)
  }
}
