import type { ModelSummary } from 'ddpm-sampler'
import { byId, make } from '../ui/dom.ts'
import { formatApproximately, formatCount } from '../ui/format.ts'

/**
 * Shows the list of models, each with a preview and its training data.
 * @param onChoose called with the name of the model that the visitor chooses
 */
export function showModels(models: readonly ModelSummary[], onChoose: (name: string) => void): void {
  const fieldset = byId('models', HTMLFieldSetElement)
  const options = models.map((model) => {
    const { name } = model
    const input = make('input', { type: 'radio', name: 'model', value: name })
    input.addEventListener('change', () => onChoose(name))
    return make('label', { class: 'model' }, input, previewOf(model), descriptionOf(model))
  })
  fieldset.append(...options)
  fieldset.hidden = false
}

/** Marks a model as chosen. */
export function markModel(name: string): void {
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="model"]')) {
    input.checked = input.value === name
  }
}

function previewOf({ preview }: ModelSummary): HTMLElement {
  if (!preview) return make('span', { class: 'no-preview' })
  return make('img', { src: `files/${preview}`, alt: '', width: '56', height: '56', loading: 'lazy' })
}

function descriptionOf({ name, training, shape }: ModelSummary): HTMLElement {
  const [owner, shortName] = name.split('/') as [string, string]
  const images = `${formatCount(training.pictures, 'image')} of ${shape.width} × ${shape.height}`
  const note = `${training.data}, ${images}; ${formatApproximately(training.parameters)} parameters`
  return make(
    'span',
    { class: 'model-text' },
    make('span', { class: 'model-name' }, make('span', { class: 'owner' }, `${owner}/`), shortName),
    make('span', { class: 'note' }, note),
  )
}
