// The path of a publication:
//
//   commands/publish.ts            parses the command line
//   publishing/exported.ts         reads the exported model and verifies its files
//   publishing/target.ts           opens the registry that the options choose
//   publishing/publish-model.ts    announces, sends and commits (this file), through the `Registry` interface
//     registry.ts                  … in this process: calls server/registry/ directly
//     server-registry.ts           … over HTTP: calls server/routes/, which call server/registry/
//   server/registry/publishing.ts  begin, putFile, commit: the three steps in the store
//   server/registry/record.ts      versions and aliases of the model, changed in one atomic write
//   server/storage/                the object store
import { formatManifest } from '@ddpm/shared'
import type { Change } from '../../server/registry/publishing.ts'
import type { ExportedModel } from './exported.ts'
import type { Registry } from './registry.ts'

/** Receives the progress of an upload. */
export interface UploadProgress {
  /** Called with the total size of the files to send. */
  start(bytes: number): void
  /** Called with the number of bytes sent since the last call. */
  add(bytes: number): void
  end(): void
}

/**
 * Publishes an exported model as its latest version. Only missing files are sent, so an interrupted publication resumes
 * when it is repeated. Visitors see the old version until the commit.
 * @param options.damaged hashes of files to send although they are stored
 * @param options.aliases additional aliases of the version, as well as `latest`
 */
export async function publishModel(
  registry: Registry,
  { manifest, files }: ExportedModel,
  {
    aliases = [],
    damaged = [],
    progress,
  }: { aliases?: readonly string[]; damaged?: readonly string[]; progress?: UploadProgress } = {},
): Promise<{ version: string; change: Change }> {
  const { version, missing } = await registry.begin(manifest, formatManifest(manifest))
  const toSend = files.filter(
    ({ sha256 }) => damaged.includes(sha256) || missing.some((file) => file.sha256 === sha256),
  )
  progress?.start(toSend.reduce((sum, { bytes }) => sum + bytes, 0))
  for (const file of toSend) await registry.send(file, (bytes) => progress?.add(bytes))
  progress?.end()
  return { version, change: await registry.commit(manifest.name, version, aliases) }
}
