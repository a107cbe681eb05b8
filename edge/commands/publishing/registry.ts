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
import type { Storage } from '../../server/storage/storage.ts'
import type { RuntimeAsset } from '../hosting/runtime-files.ts'

/** What the commands know of a model. */
export type Published = Pick<ModelRecord, 'name' | 'versions' | 'aliases'>

/** A registry to publish to: a store on this machine, or a server. */
export interface Registry {
  /** Where it is, for messages. */
  readonly place: string
  models(): AsyncIterable<Published>
  /** Null where nothing is published under the name. */
  model(name: string): Promise<Published | null>
  has(file: { sha256: string; bytes: number }): Promise<boolean>
  begin(manifest: Manifest, text: string): Promise<{ version: string; missing: ManifestFile[] }>
  /** @param onBytes gets how many more bytes have arrived */
  send(file: RuntimeAsset, onBytes: (count: number) => void): Promise<void>
  commit(name: string, version: string, aliases: readonly string[]): Promise<Change>
  moveAlias(name: string, alias: string, reference: string): Promise<string>
  unpublish(name: string, reference?: string): Promise<void>
  collect(options: Pick<CollectOptions, 'dryRun' | 'keepDays'>): Promise<CollectionResult>
  close(): Promise<void>
}

/** The registry in a store that this process can write to. */
export function storeRegistry(storage: Storage, place: string, close: () => Promise<void>): Registry {
  return {
    place,
    models: () => listRecords(storage),
    model: (name) => findRecord(storage, name),
    has: (file) => hasFile(storage, file),
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
