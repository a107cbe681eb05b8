import { cacheInfo, purge } from 'ddpm-sampler'
import { byId } from '../ui/dom.ts'
import { count, megabytes } from '../ui/format.ts'

/** Says what this browser keeps of models and onnxruntime. */
export async function showDownloads(): Promise<void> {
  const { files, bytes } = await cacheInfo()
  byId('downloads', HTMLElement).hidden = files.length === 0
  byId('downloads-text', HTMLElement).textContent =
    `This browser keeps ${count(files.length, 'file')} of ${megabytes(bytes)} MB, so that it need not download them again.`
}

/** Lets them be thrown away. */
export function offerForgetting(): void {
  byId('forget', HTMLButtonElement).addEventListener('click', async () => {
    await purge()
    await showDownloads()
  })
}
