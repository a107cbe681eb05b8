import { byId, make } from './dom.ts'
import { type Manifest, type ModelSummary, samplers, sharedWords } from './sampler.ts'
import { mostPictures, type Settings } from './settings.ts'

const samplerWords: Record<Settings['sampler'], readonly [name: string, note: string]> = {
  ddim: ['DDIM', 'DDIM goes straight from noise to picture; 20 to 50 steps do.'],
  ddpm: [
    'DDPM',
    'DDPM, as in the original paper, adds fresh noise in every step; it wants hundreds of steps.',
  ],
  dpmpp: ['DPM-Solver++', 'DPM-Solver++ looks back at earlier steps; 10 to 20 do.'],
  'sde-dpmpp': ['SDE-DPM-Solver++', 'DPM-Solver++ with fresh noise in every step; 20 to 50 do.'],
  unipc: ['UniPC', 'UniPC looks back at earlier steps and corrects them; 10 to 20 do.'],
  euler: ['Euler', 'Euler takes the same straight path as DDIM; 20 to 50 steps do.'],
  heun: ['Heun', 'Heun asks the network twice per step; 10 to 20 do.'],
}

export interface Form {
  /** Offers the models to choose from. */
  offer(models: readonly ModelSummary[]): void
  /** Takes the fields that depend on the model from its manifest, and all values from the settings. */
  fill(manifest: Manifest, settings: Settings): void
  /** What the fields hold; null after the browser has shown what is wrong with them. */
  read(): Settings | null
  /** Once there is something to choose. */
  enable(): void
}

/** The settings' fields. `onModel` is called when a model is chosen, `onCount` when a number of pictures is. */
export function createForm(handlers: { onModel(name: string): void; onCount(count: number): void }): Form {
  const form = byId('settings', HTMLFormElement)
  const fields = byId('fields', HTMLFieldSetElement)
  const model = byId('model', HTMLSelectElement)
  const className = byId('class', HTMLSelectElement)
  const guidance = byId('guidance', HTMLInputElement)
  const count = byId('count', HTMLInputElement)
  const seed = byId('seed', HTMLInputElement)
  const sampler = byId('sampler', HTMLSelectElement)
  const steps = byId('steps', HTMLInputElement)
  count.max = String(mostPictures)
  sampler.replaceChildren(...samplers.map((value) => make('option', { value }, samplerWords[value][0])))

  const update = () => {
    byId('sampler-note', HTMLElement).textContent = samplerWords[sampler.value as Settings['sampler']][1]
  }
  form.addEventListener('input', update)
  count.addEventListener('input', () => count.validity.valid && handlers.onCount(count.valueAsNumber))
  model.addEventListener('change', () => handlers.onModel(model.value))
  byId('dice', HTMLButtonElement).addEventListener('click', () => {
    seed.value = String(rollSeed())
  })

  return {
    offer(models) {
      model.replaceChildren(...models.map(({ name }) => make('option', { value: name }, name)))
    },
    fill(manifest, settings) {
      const asked = [...sharedWords(manifest.classes), ...manifest.classes]
      const classes = asked.map((name) => make('option', { value: name }, name))
      className.replaceChildren(make('option', { value: '' }, 'any'), ...classes)
      for (const id of ['class-field', 'guidance-field']) byId(id, HTMLElement).hidden = classes.length === 0
      model.value = settings.model
      className.value = settings.className ?? ''
      guidance.value = String(settings.guidance)
      count.value = String(settings.count)
      seed.value = String(settings.seed)
      sampler.value = settings.sampler
      steps.value = String(settings.steps)
      steps.max = String(manifest.scheduler.num_train_timesteps)
      update()
    },
    read() {
      if (!form.reportValidity()) return null
      return {
        model: model.value,
        className: className.value || null,
        guidance: guidance.valueAsNumber,
        count: count.valueAsNumber,
        seed: Number(seed.value),
        sampler: sampler.value as Settings['sampler'],
        steps: steps.valueAsNumber,
      }
    },
    enable() {
      fields.disabled = false
    },
  }
}

/** A seed short enough to be read out. */
export function rollSeed(): number {
  return Math.floor(Math.random() * 1e6)
}
