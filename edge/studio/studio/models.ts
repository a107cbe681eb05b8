import { listModels, type ModelSummary } from 'ddpm-sampler'
import { byId, make } from '../ui/dom.ts'
import { formatApproximately, formatCount } from '../ui/format.ts'

/** With more models than this, the list is collapsed and can be searched. */
const maxExpanded = 4
/** The server lists at most this number of models at once. A longer list is searched on the server. */
const pageSize = 50
/** Time in milliseconds without typing before the server is searched. */
const searchDelay = 250

/** The chosen model, and the models by name that the page knows. */
let chosen = ''
const known = new Map<string, ModelSummary>()

/**
 * Shows the list of models, each with a preview and its training data.
 * @param onChoose called with the name of the model that the visitor chooses
 */
export function showModels(models: readonly ModelSummary[], onChoose: (name: string) => void): void {
  const fieldset = byId('models', HTMLFieldSetElement)
  const details = byId('model-choice', HTMLDetailsElement)
  const list = byId('model-list', HTMLElement)
  const isLong = models.length > maxExpanded
  fieldset.classList.toggle('collapsible', isLong)
  details.open = !isLong
  list.addEventListener('change', ({ target }) => onChoose((target as HTMLInputElement).value))
  // A click with a pointer closes the list. Arrow keys also cause clicks, but without a detail.
  list.addEventListener('click', ({ detail, target }) => {
    if (isLong && detail > 0 && target instanceof HTMLInputElement) details.open = false
  })
  showList(models)
  if (isLong) connectSearch(models)
  fieldset.hidden = false
}

/** Marks a model as chosen. */
export function markModel(name: string): void {
  chosen = name
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="model"]')) {
    input.checked = input.value === name
  }
  const model = known.get(name)
  byId('model-chosen', HTMLElement).replaceChildren(
    ...(model ? [previewOf(model), descriptionOf(model)] : [name]),
  )
}

function showList(models: readonly ModelSummary[]): void {
  for (const model of models) known.set(model.name, model)
  byId('model-list', HTMLElement).replaceChildren(
    ...models.map((model) => {
      const input = make('input', { type: 'radio', name: 'model', value: model.name })
      input.checked = model.name === chosen
      return make('label', { class: 'model' }, input, previewOf(model), descriptionOf(model))
    }),
  )
}

/** Connects the search field. Filters the models of the first page, or asks the server if there are more. */
function connectSearch(models: readonly ModelSummary[]): void {
  const field = byId('model-search', HTMLInputElement)
  const count = byId('model-count', HTMLElement)
  const hasMore = models.length >= pageSize
  let timer: ReturnType<typeof setTimeout> | undefined
  const show = (found: readonly ModelSummary[]) => {
    showList(found)
    const number = formatCount(found.length, 'model')
    count.textContent = found.length === 0 ? 'No model matches. Try another word.' : `${number} found.`
    if (field.value.trim() === '')
      count.textContent = `${number}${hasMore ? ' shown; search for others' : ''}.`
  }
  const search = async (text: string) => {
    if (!hasMore) return
    const found = await listModels(undefined, { query: text }).catch(() => null)
    // Without a connection, the filtered first page stays. A response to an older text is ignored.
    if (found && field.value === text) show(found)
  }
  field.addEventListener('input', () => {
    const text = field.value
    show(models.filter((model) => matches(model, text)))
    clearTimeout(timer)
    timer = setTimeout(() => void search(text), searchDelay)
  })
  // Enter would submit the form, which starts a generation.
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') event.preventDefault()
  })
  show(models)
}

/** Whether a model contains every word of a text, as in the server's search. */
function matches({ name, description, classes }: ModelSummary, text: string): boolean {
  const content = [name, description, ...classes].join('\n').toLowerCase()
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => content.includes(word))
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
