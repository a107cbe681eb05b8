import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Manifest } from '@ddpm/shared'
import type { RuntimeFile } from '../../edge/build/bundle.ts'
import { buildSite } from '../../edge/build/site.ts'
import { type OpenBucket, openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { publishModel } from '../../edge/commands/publishing/publish-model.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import { exportTinyModel } from './model.ts'
import { type FaultyProxy, startProxy } from './proxy.ts'
import { storeRuntimeFiles } from './runtime.ts'

/** A model served by workerd, behind a proxy that can inject faults. */
export interface Site {
  /** Temporary folder, which `close` removes. */
  readonly folder: string
  /** Folder of the exported model. */
  readonly exported: string
  readonly manifest: Manifest
  readonly runtimeFiles: readonly RuntimeFile[]
  readonly bucket: OpenBucket
  readonly proxy: FaultyProxy
  close(): Promise<void>
}

/**
 * Exports, publishes and serves a tiny model.
 * @param changes recipe fields that differ from those of the tiny model
 */
export async function startSite(changes: Parameters<typeof exportTinyModel>[1] = {}): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-site-'))
  const exported = join(folder, 'export')
  await exportTinyModel(exported, changes)
  const model = await readExported(exported)
  const { publicFolder, runtimeFiles } = await buildSite()
  const persistTo = join(folder, 'state')
  const bucket = await openLocalBucket(persistTo)
  await storeRuntimeFiles(bucket.storage, runtimeFiles)
  const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
  await publishModel(registry, model)
  const serving = await serveOnWorkerd({ port: 0, persistTo, publicFolder, quiet: true })
  const proxy = await startProxy(serving.url)
  return {
    folder,
    exported,
    manifest: model.manifest,
    runtimeFiles,
    bucket,
    proxy,
    async close() {
      await proxy.close()
      await serving.stop()
      await bucket.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
