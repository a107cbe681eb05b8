// Small models for tests of publishing, without files on disk.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { formatManifest, type Manifest } from '@ddpm/shared'
import { keys } from '../../edge/server/registry/keys.ts'
import { findRecord, findVersion } from '../../edge/server/registry/models.ts'
import { begin, commit, putFile, sha256OfText } from '../../edge/server/registry/publishing.ts'
import { listAll, type Storage } from '../../edge/server/storage/storage.ts'
import { createManifest } from './exported.ts'

export const octets = 'application/octet-stream' as const
export const sha256Of = (content: Buffer) => createHash('sha256').update(content).digest('hex')

/** A manifest with the content of its files. */
export interface TestModel {
  readonly manifest: Manifest
  readonly text: string
  readonly version: string
  readonly contents: readonly Buffer[]
}

/** Creates a model with a graph and, by default, a preview. */
export function createModel(
  name: string,
  description: string,
  contents: readonly Buffer[] = [randomBytes(100), randomBytes(10)],
): TestModel {
  const [graph, preview] = contents
  const file = (role: 'graph' | 'preview', path: string, content: Buffer) => ({
    role,
    path,
    mediaType: octets,
    bytes: content.length,
    sha256: sha256Of(content),
  })
  const files = [
    file('graph', 'model.onnx', graph!),
    ...(preview ? [file('preview', 'preview.png', preview)] : []),
  ]
  const manifest = { ...createManifest(name, files), description }
  const text = formatManifest(manifest)
  return { manifest, text, version: sha256OfText(text), contents }
}

/** Publishes a model. Sends only the files that are missing. */
export async function publish(
  storage: Storage,
  { manifest, text, contents }: TestModel,
  aliases: string[] = [],
  now = new Date(),
) {
  const { version, missing } = await begin(storage, text)
  for (const [i, file] of manifest.files.entries()) {
    if (missing.some(({ sha256 }) => sha256 === file.sha256)) await putFile(storage, file, () => contents[i]!)
  }
  return await commit(storage, manifest.name, version, aliases, { now })
}

/** Asserts that every published model is complete. */
export async function assertConsistent(storage: Storage): Promise<void> {
  for await (const { key } of listAll(storage, keys.records)) {
    const name = keys.nameOf(key)!
    const record = await findRecord(storage, name)
    if (record === null) continue
    for (const version of [
      ...record.versions.map(({ version }) => version),
      ...Object.values(record.aliases),
    ]) {
      const { manifest } = await findVersion(storage, name, version)
      for (const { sha256, bytes } of manifest.files) {
        assert.equal((await storage.head(keys.file(sha256)))?.bytes, bytes, `a file of ${name} ${version}`)
      }
    }
    const latest = await findVersion(storage, name)
    assert.equal(record.summary?.version, latest.version)
    assert.equal(record.summary?.description, latest.manifest.description)
  }
}

/** Lists the SHA-256 of every object below `files/`. */
export const listFiles = async (storage: Storage) =>
  (await Array.fromAsync(listAll(storage, keys.files))).map(({ key }) => keys.fileOf(key))
