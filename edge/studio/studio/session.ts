import {
  type Device,
  type LoadProgress,
  listModels,
  load,
  loadManifest,
  type Manifest,
  type Model,
} from 'ddpm-sampler'
import { byId } from '../ui/dom.ts'
import { formatDuration, formatMegabytes } from '../ui/format.ts'
import type { Status } from '../ui/status.ts'
import { connectClearCache, showCachedFiles } from './cached-files.ts'

export interface Session {
  /** Returns the manifest of a model. It is fetched once. */
  manifest(name: string): Promise<Manifest>
  /** Loads a model. The latest one stays loaded, so that repeated calls return it. */
  model(manifest: Manifest, signal: AbortSignal): Promise<Model>
  /** Unloads the model and clears the fetched manifests, so that the next generation loads them again. */
  reset(): void
}

/** Fetches manifests, loads one model at a time for the selected device, and shows the progress. */
export function createSession(status: Status): Session {
  const manifests = new Map<string, Promise<Manifest>>()
  const deviceSelect = byId('run-on', HTMLSelectElement)
  let model: Model | null = null
  /** The device selected when the model was loaded. */
  let device = deviceSelect.value
  const unload = () => {
    model?.dispose()
    model = null
  }
  connectClearCache()
  const wasControlled = Boolean(navigator.serviceWorker?.controller)
  return {
    manifest(name) {
      const known = manifests.get(name)
      if (known) return known
      const manifest = loadManifest(name)
      manifests.set(name, manifest)
      // Failed requests are not cached.
      manifest.catch(() => manifests.delete(name))
      return manifest
    },
    async model(manifest, signal) {
      const { name } = manifest
      if (model?.manifest.name === name && device === deviceSelect.value) return model
      unload()
      status.announce('Loading the model.')
      device = deviceSelect.value
      model = await load(name, {
        manifest,
        device: device as 'auto' | Device,
        signal,
        onProgress: (progress) => showProgress(status, progress),
      })
      byId('device', HTMLElement).textContent = `Runs on ${model.deviceReason}.`
      cacheApiResponses(name, wasControlled).catch(() => {})
      showCachedFiles().catch(() => {})
      return model
    },
    reset() {
      unload()
      manifests.clear()
    },
  }
}

function showProgress(status: Status, progress: LoadProgress): void {
  if (progress.stage === 'fallback') {
    status.announce(progress.reason)
  } else if (progress.stage === 'prepare') {
    status.progress('Preparing the model', null)
  } else {
    const { loaded, total, secondsLeft } = progress
    const left = secondsLeft === null ? '' : `, ${formatDuration(secondsLeft)} left`
    const text = `Downloading ${formatMegabytes(loaded)} of ${formatMegabytes(total)}${left}`
    status.progress(text, loaded / total)
  }
}

/**
 * Repeats the API requests on the first visit, so that the page works offline afterwards. The service worker caches the
 * responses, but it starts after the first requests.
 */
async function cacheApiResponses(name: string, wasControlled: boolean): Promise<void> {
  const { serviceWorker } = navigator
  if (!serviceWorker || wasControlled) return
  if (!serviceWorker.controller) {
    await new Promise((resolve) =>
      serviceWorker.addEventListener('controllerchange', resolve, { once: true }),
    )
  }
  await Promise.all([listModels(), loadManifest(name)])
}
