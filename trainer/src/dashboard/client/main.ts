import { byId, make } from '@ddpm/shared/dom'
import { formatDuration } from '../../support/duration.ts'
import { type Inlined, quantities, type RunFacts, type RunState, type Update } from '../protocol.ts'
import { createCurves } from './curves.ts'
import { createSamples } from './samples.ts'
import { large, short } from './words.ts'

const stateWords: Record<RunState | 'lost', string> = {
  running: 'training',
  finished: 'finished',
  stopped: 'stopped',
  failed: 'failed',
  lost: 'connection lost, trying again',
}

/** What is known of the run; updates replace its tail. */
interface Known {
  steps: number[]
  values: Record<(typeof quantities)[number], number[]>
}

function showState(state: RunState | 'lost'): void {
  const element = byId('state', HTMLElement)
  element.textContent = stateWords[state]
  element.dataset['state'] = state
}

/** Title, description and recipe: what stays. */
function showRun({ name, images, parameters, flops, batchSize, recipe }: RunFacts): void {
  byId('name', HTMLElement).textContent = name
  byId('about', HTMLElement).textContent =
    `${images}. ${large(parameters)} parameters, ${large(flops)}FLOP per step of ${batchSize}.`
  byId('recipe', HTMLElement).replaceChildren(
    ...Object.entries(recipe).map(([field, value]) =>
      make('div', {}, make('dt', {}, field), make('dd', {}, String(value))),
    ),
  )
}

/** The row of numbers: where the run is now. */
function showFacts(facts: RunFacts, { latest, validation, state }: Update): void {
  const step = latest?.step ?? 0
  const left = latest ? ((facts.steps - step) * facts.batchSize) / latest.imagesPerSecond : Number.NaN
  const at = new Date(Date.now() + left * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  const running = state === 'running' && latest
  const numbers: [string, string, string?][] = [
    ['Step', `${step}`, `of ${facts.steps}`],
    ...(running
      ? [['Time left', formatDuration(left), left < 86400 ? `until ${at}` : ''] as [string, string, string]]
      : []),
    ['Loss', short(latest?.loss)],
    ['Validation loss', short(validation.at(-1)?.loss)],
    ['Gradient norm', short(latest?.gradientNorm)],
    ['Learning rate', short(latest?.learningRate)],
    ['Images/s', short(latest?.imagesPerSecond)],
  ]
  byId('facts', HTMLElement).replaceChildren(
    ...numbers.map(([label, value, more]) =>
      make(
        'div',
        {},
        make('dt', {}, label),
        make('dd', {}, value, ...(more ? [' ', make('small', {}, more)] : [])),
      ),
    ),
  )
  byId('progress', HTMLProgressElement).value = step / facts.steps
  document.title = `${step}/${facts.steps} · ${facts.name}`
}

/** Makes the page for a run; the returned function takes what happens to it. */
function present(facts: RunFacts): (update: Update) => void {
  const showCurves = createCurves()
  const showSamples = createSamples(facts.sampleEvery)
  const known: Known = {
    steps: [],
    values: { loss: [], gradientNorm: [], learningRate: [], imagesPerSecond: [] },
  }
  showRun(facts)
  return (update) => {
    known.steps.splice(update.from, Number.POSITIVE_INFINITY, ...update.steps)
    for (const name of quantities) {
      known.values[name].splice(update.from, Number.POSITIVE_INFINITY, ...update.values[name])
    }
    showState(update.state)
    showFacts(facts, update)
    showCurves({ ...known, validation: update.validation, stride: update.stride })
    showSamples(update.samples)
  }
}

/** Listens to the server; where it went away, until it is back: perhaps with the run resumed. */
function listen(): void {
  let facts: RunFacts | null = null
  let take: ((update: Update) => void) | null = null
  let state: RunState = 'running'
  const connect = () => {
    const events = new EventSource('events')
    events.addEventListener('facts', ({ data }) => {
      // Another run, or the same with more steps to go.
      if (facts && JSON.stringify(facts) !== data) location.reload()
      facts = JSON.parse(data) as RunFacts
      take ??= present(facts)
    })
    events.addEventListener('update', ({ data }) => {
      const update = JSON.parse(data) as Update
      state = update.state
      take?.(update)
    })
    events.addEventListener('error', () => {
      if (state === 'running') showState('lost')
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, 2000)
    })
  }
  connect()
}

const inlined = JSON.parse(byId('data', HTMLScriptElement).text) as Inlined | null
if (inlined) present(inlined.facts)(inlined.update)
else listen()
