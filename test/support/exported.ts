import { createHash, randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatManifest, type Manifest, type ManifestFile, toSchedulerConfig } from '@ddpm/shared'

/**
 * Writes an exported model whose files contain random bytes, with a valid manifest.
 * @param sizes sizes of the files in bytes
 * @returns the manifest and the contents of its files, in the manifest's order
 */
export async function writeExported(
  folder: string,
  name: string,
  sizes: { graph: number; preview?: number },
): Promise<{ manifest: Manifest; contents: Buffer[] }> {
  await mkdir(folder, { recursive: true })
  const contents: Buffer[] = []
  const write = async (
    role: 'graph' | 'preview',
    path: string,
    mediaType: ManifestFile['mediaType'],
    bytes: number,
  ) => {
    const content = randomBytes(bytes)
    contents.push(content)
    await writeFile(join(folder, path), content)
    return { role, path, mediaType, bytes, sha256: createHash('sha256').update(content).digest('hex') }
  }
  const files = [await write('graph', 'model.onnx', 'application/octet-stream', sizes.graph)]
  if (sizes.preview) files.push(await write('preview', 'preview.png', 'image/png', sizes.preview))
  const manifest = createManifest(name, files)
  await writeFile(join(folder, 'manifest.json'), formatManifest(manifest))
  return { manifest, contents }
}

/** Creates a valid manifest for the given files. */
export function createManifest(name: string, files: Manifest['files']): Manifest {
  return {
    version: 1,
    name,
    description: 'Random bytes.',
    licence: 'CC0-1.0',
    shape: { channels: 3, height: 8, width: 8 },
    classes: ['disc', 'star'],
    files,
    inputs: { sample: 'x', timestep: 't', label: 'label' },
    output: 'epsilon',
    training: {
      recipe: 'shapes',
      data: 'shapes',
      pictures: 64,
      parameters: 1,
      steps: 1,
      batchSize: 1,
      seconds: 1,
      weights: 'ema',
      loss: 1,
      validationLoss: null,
    },
    scheduler: toSchedulerConfig(
      { betaSchedule: 'linear', timesteps: 1000, betaStart: 1e-4, betaEnd: 0.02 },
      'epsilon',
    ),
    sampling: { sampler: 'ddim', steps: 20, spacing: 'trailing', guidance: 1 },
  }
}
