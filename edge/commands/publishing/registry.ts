import { openAsBlob } from 'node:fs'
import type { Manifest, ManifestFile } from '@ddpm/shared'
import {
  type CollectionResult,
  type CollectOptions,
  collectGarbage,
} from '../../server/registry/garbage-collection.ts'
import { findRecord, listRecords, moveAlias, unpublish } from '../../server/registry/models.ts'
import { begin, type Change, commit, hasFile, putFile } from '../../server/registry/publishing.ts'
import type { ModelRecord } from '../../server/registry/record.ts'
import { type FileState, verifyFile } from '../../server/registry/verification.ts'
import type { Storage } from '../../server/storage/storage.ts'
import type { ExportedFile } from './exported.ts'

/** A published model with its versions and aliases. */
export type PublishedModel = Pick<ModelRecord, 'name' | 'versions' | 'aliases'>

/** A registry to publish to: `storeRegistry` in this process, or `serverRegistry` over HTTP. */
export interface Registry {
  /** Location for messages, such as "locally" or "at https://models.example". */
  readonly place: string
  models(): AsyncIterable<PublishedModel>
  /** Returns null if nothing is published under this name. */
  model(name: string): Promise<PublishedModel | null>
  has(file: { sha256: string; bytes: number }): Promise<boolean>
  /** Reads a stored file completely and compares it with its hash. */
  verify(file: { sha256: string; bytes: number }): Promise<FileState>
  /** Announces a version and lists its missing files. */
  begin(manifest: Manifest, text: string): Promise<{ version: string; missing: ManifestFile[] }>
  /** @param onBytes receives the number of bytes sent since the last call */
  send(file: ExportedFile, onBytes: (count: number) => void): Promise<void>
  /** Publishes an announced version as `latest`, once all of its files were sent. */
  commit(name: string, version: string, aliases: readonly string[]): Promise<Change>
  /** Returns the version that the alias now points at. */
  moveAlias(name: string, alias: string, reference: string): Promise<string>
  unpublish(name: string, reference?: string): Promise<void>
  collect(options: Pick<CollectOptions, 'dryRun' | 'keepDays'>): Promise<CollectionResult>
  close(): Promise<void>
}

/** Opens the registry in a store that this process can write to. */
export function storeRegistry(storage: Storage, place: string, close: () => Promise<void>): Registry {
  return {
    place,
    models: () => listRecords(storage),
    model: (name) => findRecord(storage, name),
    has: (file) => hasFile(storage, file),
    verify: (file) => verifyFile(storage, file),
    begin: (_, text) => begin(storage, text),
    async send(file, onBytes) {
      const content = await openAsBlob(file.path)
      const counted = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          onBytes(chunk.length)
          controller.enqueue(chunk)
        },
      })
      await putFile(storage, file, () => content.stream().pipeThrough(counted))
    },
    commit: (name, version, aliases) => commit(storage, name, version, aliases),
    moveAlias: (name, alias, reference) => moveAlias(storage, name, alias, reference),
    unpublish: (name, reference) => unpublish(storage, name, reference),
    collect: (options) => collectGarbage(storage, options),
    close,
  }
}
