import type { Manifest } from 'ddpm-sampler'
import { groupClasses } from '../settings/classes.ts'
import { byId, make } from '../ui/dom.ts'
import { formatApproximately, formatCount, formatDuration, formatNumber } from '../ui/format.ts'

/** Shows the details of a model and its preview grid. */
export function showFacts(manifest: Manifest): void {
  const { name, description, files } = manifest
  const section = byId('facts', HTMLElement)
  section.replaceChildren(
    make('h2', {}, name),
    make('p', {}, description),
    make(
      'dl',
      {},
      ...factsOf(manifest).flatMap(([term, fact]) => [make('dt', {}, term), make('dd', {}, fact)]),
    ),
  )
  const preview = files.find(({ role }) => role === 'preview')
  if (preview) section.append(previewFigure(name, preview.sha256))
  section.hidden = false
}

function factsOf({ shape, classes, training, files, licence }: Manifest): [term: string, fact: string][] {
  const { channels, height, width } = shape
  const { parameters, data, pictures, steps, batchSize, seconds, validationLoss } = training
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  return [
    ['Image size', `${width} × ${height}, ${channels === 1 ? 'grey' : 'colour'}`],
    ...(classes.length > 0 ? [['Classes', describeClasses(classes)] as [string, string]] : []),
    ['Model size', `${formatApproximately(parameters)} parameters`],
    ['Trained on', `${data}, ${formatCount(pictures, 'image')}`],
    ['Training', `${formatCount(steps, 'step')} with batch size ${batchSize} in ${formatDuration(seconds)}`],
    ...(validationLoss === null ? [] : [['Validation loss', validationLoss.toFixed(4)] as [string, string]]),
    ['Download', `${formatNumber(Math.ceil(bytes / 1e4) / 100)} MB`],
    ['Licence', licence],
  ]
}

/** Lists the classes. Of grouped classes, lists the groups. */
function describeClasses(classes: readonly string[]): string {
  const groups = groupClasses(classes)
  if (groups === null) return classes.join(', ')
  return `${classes.length} in ${groups.length} groups: ${groups.map(({ word }) => word).join(', ')}`
}

function previewFigure(name: string, sha256: string): HTMLElement {
  const image = make('img', { src: `files/${sha256}`, alt: `A grid of samples of ${name}`, loading: 'lazy' })
  return make(
    'figure',
    {},
    image,
    make('figcaption', { class: 'note' }, 'Samples generated when the model was exported'),
  )
}
