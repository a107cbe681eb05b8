import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatManifest, type GenerateOptions, type Manifest, type Network } from '@ddpm/shared'
import { buildSite } from '../../edge/build/site.ts'
import { openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { storageTarget, uploadRuntimeFiles } from '../../edge/commands/hosting/runtime-files.ts'
import { serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import { generateReference, nodeNetwork } from './images.ts'
import { exportTinyModel } from './model.ts'

/** A server of the pages with one tiny model, and the same model in Node. */
export interface Studio {
  readonly url: string
  readonly manifest: Manifest
  readonly network: Network
  /** Generates images in Node. Returns the RGBA bytes of each image. */
  generate(options: GenerateOptions): Promise<number[][]>
  stop(): Promise<void>
}

/** Serves the pages on workerd, with a model for 8×8 images and the classes "light" and "warm". */
export async function openStudio(): Promise<Studio> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-studio-'))
  const exported = join(folder, 'export')
  await exportTinyModel(exported, { size: 8, numResBlocks: 1, attention: [false, false] })
  const { manifest, files } = await readExported(exported)
  const network = await nodeNetwork(exported, manifest)

  const { publicFolder, runtimeFiles } = await buildSite()
  const persistTo = join(folder, 'state')
  const bucket = await openLocalBucket(persistTo)
  await uploadRuntimeFiles(storageTarget(bucket.storage), runtimeFiles)
  const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
  const { version } = await registry.begin(manifest, formatManifest(manifest))
  for (const file of files) await registry.send(file, () => {})
  await registry.commit(manifest.name, version, [])
  await bucket.close()
  const serving = await serveOnWorkerd({ port: 0, persistTo, publicFolder, quiet: true })
  return {
    url: serving.url,
    manifest,
    network,
    generate: (options) => generateReference(manifest, network, options),
    async stop() {
      await serving.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
