import { type Manifest, samplers, sharedWords, timestepSpacings } from 'ddpm-sampler'
import { byId, make } from '../ui/dom.ts'
import { deterministic, hasOrder, isStochastic, mostImages, type Settings } from './settings.ts'
import { createStartPanel } from './start-panel.ts'

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

const spacingWords: Record<Settings['spacing'], string> = {
  leading: 'leading',
  trailing: 'trailing',
  linspace: 'even, both ends',
  quadratic: 'quadratic',
  lambda: 'even in log SNR (λ)',
  karras: 'Karras (σ^1/7)',
}

export interface Form {
  /** Takes the fields that depend on the model from its manifest, and all values from the settings. */
  fill(manifest: Manifest, settings: Settings): void
  /** What the fields hold; null after the browser has shown what is wrong with them. */
  read(): Settings | null
  /** The same, in silence: null while something is wrong. */
  peek(): Settings | null
  /** Pictures of the model: what one paints oneself gets their paper. */
  paper(images: readonly ImageData[]): void
  /** Once there is something to choose. */
  enable(): void
}

/** The settings' fields. `onChange` is called when anything is. */
export function createForm(onChange: () => void): Form {
  const form = byId('settings', HTMLFormElement)
  const className = byId('class', HTMLSelectElement)
  const input = (id: string) => byId(id, HTMLInputElement)
  const [guidance, rescale, count, seed] = [
    input('guidance'),
    input('rescale'),
    input('count'),
    input('seed'),
  ]
  const [steps, eta] = [input('steps'), input('eta')]
  const sampler = byId('sampler', HTMLSelectElement)
  const spacing = byId('spacing', HTMLSelectElement)
  const order = byId('order', HTMLSelectElement)
  let manifest: Manifest | null = null
  count.max = String(mostImages)
  sampler.replaceChildren(...samplers.map((value) => make('option', { value }, samplerWords[value][0])))
  spacing.replaceChildren(...timestepSpacings.map((value) => make('option', { value }, spacingWords[value])))

  const update = () => {
    const chosen = sampler.value as Settings['sampler']
    byId('sampler-note', HTMLElement).textContent = samplerWords[chosen][1]
    byId('eta-field', HTMLElement).hidden = chosen !== 'ddim'
    byId('order-field', HTMLElement).hidden = !hasOrder(chosen)
    eta.disabled = chosen !== 'ddim'
    order.options[2]!.disabled = chosen === 'sde-dpmpp'
    if (order.selectedOptions[0]?.disabled) order.value = '2'
  }
  const changed = () => {
    update()
    onChange()
  }
  const start = createStartPanel(changed)
  for (const radio of form.querySelectorAll<HTMLInputElement>('input[name="start"]')) {
    radio.addEventListener('change', () => {
      // Between noises only a sampler without fresh noise finds what lies between their pictures.
      if (start.kind === 'near' || start.kind === 'between') settle()
    })
  }
  const settle = () => {
    const found = { sampler: sampler.value as Settings['sampler'], eta: etaOf(eta.value) }
    if (!isStochastic(found)) return
    const calm = deterministic(found)
    sampler.value = calm.sampler
    eta.value = String(calm.eta)
    changed()
  }
  form.addEventListener('input', changed)
  byId('dice', HTMLButtonElement).addEventListener('click', () => {
    seed.value = String(rollSeed())
    changed()
  })

  const values = (): Settings | null =>
    manifest && {
      model: manifest.name,
      class: className.value || null,
      guidance: guidance.valueAsNumber,
      guidanceRescale: rescale.valueAsNumber,
      count: count.valueAsNumber,
      seed: Number(seed.value),
      sampler: sampler.value as Settings['sampler'],
      steps: steps.valueAsNumber,
      spacing: spacing.value as Settings['spacing'],
      eta: etaOf(eta.value),
      order: Number(order.value) as Settings['order'],
      start: start.read(Number(seed.value)),
    }

  return {
    fill(chosen, settings) {
      if (manifest?.name !== chosen.name) start.resize(chosen)
      manifest = chosen
      const asked = [...sharedWords(chosen.classes), ...chosen.classes]
      const classes = asked.map((name) => make('option', { value: name }, name))
      className.replaceChildren(make('option', { value: '' }, 'any'), ...classes)
      for (const id of ['class-field', 'guidance-field', 'rescale-field']) {
        byId(id, HTMLElement).hidden = classes.length === 0
      }
      className.value = settings.class ?? ''
      guidance.value = String(settings.guidance)
      rescale.value = String(settings.guidanceRescale)
      count.value = String(settings.count)
      seed.value = String(settings.seed)
      sampler.value = settings.sampler
      steps.value = String(settings.steps)
      steps.max = String(chosen.scheduler.num_train_timesteps)
      spacing.value = settings.spacing
      eta.value = String(settings.eta)
      order.value = String(settings.order)
      start.fill(settings.start, settings.seed)
      update()
    },
    read() {
      const wrong = form.querySelector<HTMLElement>(':invalid:not(fieldset)')
      // What is folded away cannot be shown to be wrong.
      const folded = wrong?.closest('details')
      if (folded) folded.open = true
      return form.reportValidity() ? values() : null
    },
    paper: start.paper,
    peek: () => (form.checkValidity() ? values() : null),
    enable() {
      byId('fields', HTMLFieldSetElement).disabled = false
    },
  }
}

function etaOf(text: string): Settings['eta'] {
  return text.trim() === 'hat' ? 'hat' : Number(text)
}

/** A seed short enough to be read out. */
export function rollSeed(): number {
  return Math.floor(Math.random() * 1e6)
}
