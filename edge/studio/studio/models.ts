import type { ModelSummary } from 'ddpm-sampler'
import { byId, make } from '../ui/dom.ts'
import { count, roughly } from '../ui/format.ts'

/** The models to choose from: each with some of its pictures and what it was trained on. */
export function offerModels(models: readonly ModelSummary[], onChoose: (name: string) => void): void {
  const cards = models.map(({ name, preview, training, shape }) => {
    const input = make('input', { type: 'radio', name: 'model', value: name })
    input.addEventListener('change', () => onChoose(name))
    const image = preview
      ? make('img', { src: `files/${preview}`, alt: '', width: '56', height: '56', loading: 'lazy' })
      : make('span', { class: 'no-preview' })
    const [owner, own] = name.split('/') as [string, string]
    const words = make(
      'span',
      { class: 'words' },
      make('span', { class: 'model-name' }, make('span', { class: 'owner' }, `${owner}/`), own),
      make(
        'span',
        { class: 'note' },
        `${training.data}, ${count(training.pictures, 'picture')} of ${shape.width} × ${shape.height}; ${roughly(training.parameters)} parameters`,
      ),
    )
    return make('label', { class: 'model' }, input, image, words)
  })
  byId('models', HTMLFieldSetElement).append(...cards)
  byId('models', HTMLFieldSetElement).hidden = false
}

export function markModel(name: string): void {
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="model"]')) {
    input.checked = input.value === name
  }
}
