import { type Manifest, samplers, timestepSpacings } from 'ddpm-sampler'
import { byId, make } from '../ui/dom.ts'
import { fillClasses } from './classes.ts'
import { createSeedField } from './seed.ts'
import { hasOrder, isStochastic, maxImages, type Settings, toDeterministic } from './settings.ts'
import { createStartPanel } from './start-panel.ts'

const samplerTexts: Record<Settings['sampler'], readonly [name: string, note: string]> = {
  ddim: ['DDIM', 'DDIM adds no noise after the start. 20 to 50 steps are enough.'],
  ddpm: ['DDPM', 'DDPM, the original method, adds new noise in every step. It needs hundreds of steps.'],
  dpmpp: ['DPM-Solver++', 'DPM-Solver++ also uses the results of earlier steps. 10 to 20 steps are enough.'],
  'sde-dpmpp': [
    'SDE-DPM-Solver++',
    'SDE-DPM-Solver++ is DPM-Solver++ with new noise in every step. 20 to 50 steps are enough.',
  ],
  unipc: ['UniPC', 'UniPC corrects each step with the results of earlier ones. 10 to 20 steps are enough.'],
  euler: ['Euler', 'Euler follows the same path as DDIM. 20 to 50 steps are enough.'],
  heun: ['Heun', 'Heun evaluates the model twice per step. 10 to 20 steps are enough.'],
}

const spacingNames: Record<Settings['spacing'], string> = {
  leading: 'leading',
  trailing: 'trailing',
  linspace: 'linspace (both ends)',
  quadratic: 'quadratic',
  lambda: 'even in log SNR (λ)',
  karras: 'Karras (σ^1/7)',
}

export interface Form {
  /** Adapts the form to a model and fills in settings. */
  fill(manifest: Manifest, settings: Settings): void
  /** Returns the settings; null if a field is invalid, after the browser has shown why. */
  submit(): Settings | null
  /** Returns the settings without showing errors; null if a field is invalid. */
  read(): Settings | null
  /** The seed, if the visitor locked it; null if each generation takes a new one. */
  readonly lockedSeed: number | null
  /** Takes new random numbers, so that the next generation differs from the latest one. */
  renewSeed(): void
  /** Adapts the drawing board's background to the model's samples. */
  setBackground(samples: readonly ImageData[]): void
  /** Enables the form, once a model is chosen. */
  enable(): void
}

/**
 * Connects the settings form.
 * @param onChange called after every change by the visitor
 */
export function createForm(onChange: () => void): Form {
  const form = byId('settings', HTMLFormElement)
  const className = byId('class', HTMLSelectElement)
  const input = (id: string) => byId(id, HTMLInputElement)
  const [guidance, rescale] = [input('guidance'), input('rescale')]
  const [count, steps, eta] = [input('count'), input('steps'), input('eta')]
  const seed = createSeedField()
  const sampler = byId('sampler', HTMLSelectElement)
  const spacing = byId('spacing', HTMLSelectElement)
  const order = byId('order', HTMLSelectElement)
  let manifest: Manifest | null = null
  count.max = String(maxImages)
  sampler.replaceChildren(...samplers.map((value) => make('option', { value }, samplerTexts[value][0])))
  spacing.replaceChildren(...timestepSpacings.map((value) => make('option', { value }, spacingNames[value])))

  const selectedSampler = () => sampler.value as Settings['sampler']
  const update = () => {
    const selected = selectedSampler()
    byId('sampler-note', HTMLElement).textContent = samplerTexts[selected][1]
    byId('eta-field', HTMLElement).hidden = selected !== 'ddim'
    byId('order-field', HTMLElement).hidden = !hasOrder(selected)
    eta.disabled = selected !== 'ddim'
    order.options[2]!.disabled = selected === 'sde-dpmpp'
    if (order.selectedOptions[0]?.disabled) order.value = '2'
  }
  const handleChange = () => {
    update()
    onChange()
  }
  /** Variations and interpolations are meaningful only if the start noise determines the image. */
  const selectDeterministicSampler = () => {
    const current = { sampler: selectedSampler(), eta: parseEta(eta.value) }
    if (!isStochastic(current)) return
    const deterministic = toDeterministic(current)
    sampler.value = deterministic.sampler
    eta.value = String(deterministic.eta)
    handleChange()
  }
  const start = createStartPanel(handleChange)
  for (const radio of form.querySelectorAll<HTMLInputElement>('input[name="start"]')) {
    radio.addEventListener('change', () => {
      if (start.kind === 'variation' || start.kind === 'interpolation') selectDeterministicSampler()
    })
  }
  form.addEventListener('input', handleChange)

  const values = (): Settings | null =>
    manifest && {
      model: manifest.name,
      class: className.value || null,
      guidance: guidance.valueAsNumber,
      guidanceRescale: rescale.valueAsNumber,
      count: count.valueAsNumber,
      seed: seed.value,
      sampler: selectedSampler(),
      steps: steps.valueAsNumber,
      spacing: spacing.value as Settings['spacing'],
      eta: parseEta(eta.value),
      order: Number(order.value) as Settings['order'],
      start: start.read(seed.value),
    }

  return {
    fill(newManifest, settings) {
      if (manifest?.name !== newManifest.name) start.resize(newManifest)
      manifest = newManifest
      const { classes, scheduler } = newManifest
      fillClasses(className, classes)
      for (const id of ['class-field', 'guidance-field', 'rescale-field']) {
        byId(id, HTMLElement).hidden = classes.length === 0
      }
      className.value = settings.class ?? ''
      guidance.value = String(settings.guidance)
      rescale.value = String(settings.guidanceRescale)
      count.value = String(settings.count)
      seed.value = settings.seed
      sampler.value = settings.sampler
      steps.value = String(settings.steps)
      steps.max = String(scheduler.num_train_timesteps)
      spacing.value = settings.spacing
      eta.value = String(settings.eta)
      order.value = String(settings.order)
      start.fill(settings.start, settings.seed)
      update()
    },
    submit() {
      const invalid = form.querySelector<HTMLElement>(':invalid:not(fieldset)')
      // The browser cannot show an error at a field inside closed details.
      const details = invalid?.closest('details')
      if (details) details.open = true
      return form.reportValidity() ? values() : null
    },
    read: () => (form.checkValidity() ? values() : null),
    get lockedSeed() {
      return seed.locked
    },
    renewSeed() {
      if (!start.renew()) seed.renew()
    },
    setBackground: start.setBackground,
    enable() {
      byId('fields', HTMLFieldSetElement).disabled = false
    },
  }
}

function parseEta(text: string): Settings['eta'] {
  return text.trim() === 'hat' ? 'hat' : Number(text)
}
