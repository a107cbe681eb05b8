import { type Device, type LoadProgress, listModels, load, loadManifest, type Model } from 'ddpm-sampler'
import { byId } from '../ui/dom.ts'
import { duration, megabytes } from '../ui/format.ts'
import type { Status } from '../ui/status.ts'
import { offerForgetting, showDownloads } from './downloads.ts'

export interface Session {
  /** The model, loaded once for all its drawings. */
  model(name: string, signal: AbortSignal): Promise<Model>
  /** The next drawing starts afresh. */
  drop(): void
}

/** Loads models as they are needed, one at a time, and tells how far it is. */
export function createSession(status: Status): Session {
  let model: Model | null = null
  const runOn = byId('run-on', HTMLSelectElement)
  /** What the model was loaded for. */
  let device = runOn.value
  const drop = () => {
    model?.dispose()
    model = null
  }
  offerForgetting()
  const wasControlled = Boolean(navigator.serviceWorker?.controller)
  return {
    drop,
    async model(name, signal) {
      if (model?.manifest.name === name && device === runOn.value) return model
      drop()
      status.say('Loading the model.')
      device = runOn.value
      model = await load(name, {
        device: device as 'auto' | Device,
        signal,
        onProgress: (progress) => showLoading(status, progress),
      })
      byId('device', HTMLElement).textContent = `Draws on ${model.deviceReason}.`
      keepAnswers(name, wasControlled).catch(() => {})
      showDownloads().catch(() => {})
      return model
    },
  }
}

function showLoading(status: Status, progress: LoadProgress): void {
  if (progress.stage === 'fallback') {
    status.say(progress.reason)
  } else if (progress.stage === 'prepare') {
    status.progress('Preparing the model', null)
  } else {
    const { loaded, total, secondsLeft } = progress
    const left = secondsLeft === null ? '' : `, ${duration(secondsLeft)} left`
    const text = `Downloading, ${megabytes(loaded)} of ${megabytes(total)} MB${left}`
    status.progress(text, loaded / total)
  }
}

/** On the first visit the service worker comes too late to keep what the server said: it is asked once more. */
async function keepAnswers(name: string, wasControlled: boolean): Promise<void> {
  const { serviceWorker } = navigator
  if (!serviceWorker || wasControlled) return
  if (!serviceWorker.controller) {
    await new Promise((resolve) =>
      serviceWorker.addEventListener('controllerchange', resolve, { once: true }),
    )
  }
  await Promise.all([listModels(), loadManifest(name)])
}
