import type { Manifest } from 'ddpm-sampler'
import { byId, make } from '../ui/dom.ts'
import { count, duration, number, roughly } from '../ui/format.ts'

/** Shows what a manifest tells of its model. */
export function showFacts({ name, description, licence, shape, classes, training, files }: Manifest): void {
  const { channels, height, width } = shape
  const rows: [string, string][] = [
    ['Pictures', `${width} × ${height}, ${channels === 1 ? 'grey' : 'colour'}`],
    ['Network', `${roughly(training.parameters)} parameters`],
    ['Trained on', `${training.data}, ${count(training.pictures, 'picture')}`],
    [
      'Training',
      `${count(training.steps, 'step')} of ${training.batchSize} in ${duration(training.seconds)}`,
    ],
    ['Licence', licence],
  ]
  if (training.validationLoss !== null)
    rows.splice(4, 0, ['Validation loss', training.validationLoss.toFixed(4)])
  if (classes.length > 0) rows.splice(1, 0, ['Classes', classes.join(', ')])
  const size = files.reduce((sum, { bytes }) => sum + bytes, 0)
  rows.splice(-1, 0, ['Download', `${number(Math.ceil(size / 1e4) / 100)} MB`])

  const section = byId('facts', HTMLElement)
  section.replaceChildren(
    make('h2', {}, name),
    make('p', {}, description),
    make('dl', {}, ...rows.flatMap(([term, fact]) => [make('dt', {}, term), make('dd', {}, fact)])),
  )
  const preview = files.find(({ role }) => role === 'preview')
  if (preview) {
    const caption = 'Drawn when it was published'
    section.append(
      make(
        'figure',
        {},
        make('img', {
          src: `files/${preview.sha256}`,
          alt: `A grid of samples of ${name}`,
          loading: 'lazy',
        }),
        make('figcaption', { class: 'note' }, caption),
      ),
    )
  }
  section.hidden = false
}
