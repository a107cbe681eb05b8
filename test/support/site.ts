import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Manifest } from '@ddpm/shared'
import type { RuntimeFile } from '../../edge/build/bundle.ts'
import { buildClient } from '../../edge/build/site.ts'
import { localBucket, type Opened } from '../../edge/commands/hosting/local-bucket.ts'
import { serve } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { publishModel } from '../../edge/commands/publishing/publish-model.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import { exportTinyModel } from './model.ts'
import { type Between, startProxy } from './proxy.ts'
import { putRuntime } from './runtime.ts'

/** A model served by workerd, behind a proxy that can inject faults. */
export interface Site {
  /** Temporary folder for the test. */
  readonly folder: string
  /** Folder of the exported model. */
  readonly exported: string
  readonly manifest: Manifest
  readonly runtimeFiles: readonly RuntimeFile[]
  readonly bucket: Opened
  readonly proxy: Between
  close(): Promise<void>
}

/**
 * Exports, publishes and serves a tiny model.
 * @param changes to the recipe of the tiny model
 */
export async function startSite(changes: Parameters<typeof exportTinyModel>[1] = {}): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-site-'))
  const exported = join(folder, 'export')
  await exportTinyModel(exported, changes)
  const model = await readExported(exported)
  const { publicFolder, runtimeFiles } = await buildClient()
  const persistTo = join(folder, 'state')
  const bucket = await localBucket(persistTo)
  await putRuntime(bucket.storage, runtimeFiles)
  const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
  await publishModel(registry, model)
  const serving = await serve({ port: 0, persistTo, publicFolder, quiet: true })
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
