import { cacheInfo, purge } from 'ddpm-sampler'
import { byId } from '../ui/dom.ts'
import { formatCount, formatMegabytes } from '../ui/format.ts'

/** Shows how many files of models and onnxruntime this browser has cached. */
export async function showCachedFiles(): Promise<void> {
  const { files, bytes } = await cacheInfo()
  byId('cached-files', HTMLElement).hidden = files.length === 0
  byId('cached-files-text', HTMLElement).textContent =
    `This browser has cached ${formatCount(files.length, 'file')} (${formatMegabytes(bytes)}) to avoid repeated downloads.`
}

/** Connects the button that clears the cache. */
export function connectClearCache(): void {
  byId('clear-cache', HTMLButtonElement).addEventListener('click', async () => {
    await purge()
    await showCachedFiles()
  })
}
