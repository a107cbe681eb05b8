import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatManifest, type Manifest } from '@ddpm/shared'
import type { RuntimeFile } from '../../edge/build/bundle.ts'
import { buildClient } from '../../edge/build/site.ts'
import { localBucket, type Opened } from '../../edge/commands/hosting/local-bucket.ts'
import { serve } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { exportTinyModel } from './model.ts'
import { type Between, startProxy } from './proxy.ts'

/** A model served by workerd, behind a proxy that can get in the way. */
export interface Site {
  /** Of its own, for what a test leaves. */
  readonly folder: string
  /** The model as exported. */
  readonly exported: string
  readonly manifest: Manifest
  readonly runtimeFiles: readonly RuntimeFile[]
  readonly bucket: Opened
  readonly proxy: Between
  close(): Promise<void>
}

/** @param changes to the tiny model's recipe */
export async function startSite(changes: Parameters<typeof exportTinyModel>[1] = {}): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-site-'))
  const exported = join(folder, 'export')
  await exportTinyModel(exported, changes)
  const { manifest, files } = await readExported(exported)
  const { publicFolder, runtimeFiles } = await buildClient()
  const persistTo = join(folder, 'state')
  const bucket = await localBucket(persistTo)
  // As they are: to compress them, as publishing does, takes minutes.
  for (const { path, sha256, mediaType } of runtimeFiles) {
    await bucket.storage.put(keys.file(sha256), await readFile(path), { mediaType })
  }
  const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
  const { version } = await registry.begin(manifest, formatManifest(manifest))
  for (const file of files) await registry.send(file, () => {})
  await registry.commit(manifest.name, version, [])
  const serving = await serve({ port: 0, persistTo, publicFolder, quiet: true })
  const proxy = await startProxy(serving.url)
  return {
    folder,
    exported,
    manifest,
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
