import { byId, make } from '@ddpm/shared/dom'
import { formatDuration } from '../../support/duration.ts'
import { quantities, type ReportData, type RunFacts, type RunState, type Update } from '../protocol.ts'
import { createCurves } from './curves.ts'
import { formatLarge, formatNumber } from './format.ts'
import { createSamplePlayer } from './sample-player.ts'

const stateLabels: Record<RunState | 'lost', string> = {
  running: 'training',
  finished: 'finished',
  stopped: 'stopped',
  failed: 'failed',
  lost: 'connection lost, reconnecting',
}

/** All points received so far. */
interface Points {
  steps: number[]
  values: Record<(typeof quantities)[number], number[]>
}

function showState(state: RunState | 'lost'): void {
  const element = byId('state', HTMLElement)
  element.textContent = stateLabels[state]
  element.dataset['state'] = state
}

/** Shows the title, description and recipe. */
function showRun({ name, images, parameters, flops, batchSize, recipe }: RunFacts): void {
  byId('name', HTMLElement).textContent = name
  byId('about', HTMLElement).textContent =
    `${images}. ${formatLarge(parameters)} parameters, ${formatLarge(flops)}FLOP per step with batch size ${batchSize}.`
  byId('recipe', HTMLElement).replaceChildren(
    ...Object.entries(recipe).map(([field, value]) =>
      make('div', {}, make('dt', {}, field), make('dd', {}, String(value))),
    ),
  )
}

/** Label, value and an optional detail. */
type Fact = [string, string, string?]

/** Shows the row of current values. */
function showFacts(facts: RunFacts, { latest, validation, state }: Update): void {
  const step = latest?.step ?? 0
  const left = latest ? ((facts.steps - step) * facts.batchSize) / latest.imagesPerSecond : Number.NaN
  const endTime = new Date(Date.now() + left * 1000).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
  })
  const running = state === 'running' && latest
  const timeLeft: Fact = ['Time left', formatDuration(left), left < 86400 ? `until ${endTime}` : '']
  const numbers: Fact[] = [
    ['Step', `${step}`, `of ${facts.steps}`],
    ...(running ? [timeLeft] : []),
    ['Loss', formatNumber(latest?.loss)],
    ['Validation loss', formatNumber(validation.at(-1)?.loss)],
    ['Gradient norm', formatNumber(latest?.gradientNorm)],
    ['Learning rate', formatNumber(latest?.learningRate)],
    ['Images/s', formatNumber(latest?.imagesPerSecond)],
  ]
  byId('facts', HTMLElement).replaceChildren(
    ...numbers.map(([label, value, detail]) =>
      make(
        'div',
        {},
        make('dt', {}, label),
        make('dd', {}, value, ...(detail ? [' ', make('small', {}, detail)] : [])),
      ),
    ),
  )
  byId('progress', HTMLProgressElement).value = step / facts.steps
  document.title = `${step}/${facts.steps} · ${facts.name}`
}

/** Shows a run. Returns a function that shows an update of the run. */
function showRunPage(facts: RunFacts): (update: Update) => void {
  const showCurves = createCurves()
  const showSamples = createSamplePlayer(facts.sampleEvery)
  const points: Points = {
    steps: [],
    values: { loss: [], gradientNorm: [], learningRate: [], imagesPerSecond: [] },
  }
  showRun(facts)
  return (update) => {
    points.steps.splice(update.from, Number.POSITIVE_INFINITY, ...update.steps)
    for (const name of quantities) {
      points.values[name].splice(update.from, Number.POSITIVE_INFINITY, ...update.values[name])
    }
    showState(update.state)
    showFacts(facts, update)
    showCurves({ ...points, validation: update.validation, stride: update.stride })
    showSamples(update.samples)
  }
}

/**
 * Receives events from the server. If the connection is lost, tries again until a server answers. This may be the server of
 * the resumed run.
 */
function listen(): void {
  let facts: RunFacts | null = null
  let showUpdate: ((update: Update) => void) | null = null
  let state: RunState = 'running'
  const connect = () => {
    const events = new EventSource('events')
    events.addEventListener('facts', ({ data }) => {
      // Different facts mean that the server now shows another run, or the same run with other settings.
      if (facts && JSON.stringify(facts) !== data) location.reload()
      facts = JSON.parse(data) as RunFacts
      showUpdate ??= showRunPage(facts)
    })
    events.addEventListener('update', ({ data }) => {
      const update = JSON.parse(data) as Update
      state = update.state
      showUpdate?.(update)
    })
    events.addEventListener('error', () => {
      if (state === 'running') showState('lost')
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000)
    })
  }
  connect()
}

const inlined = JSON.parse(byId('data', HTMLScriptElement).text) as ReportData | null
if (inlined) showRunPage(inlined.facts)(inlined.update)
else listen()
