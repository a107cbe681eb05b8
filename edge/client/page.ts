import { byId } from './dom.ts'
import { showFacts } from './facts.ts'
import { createForm, rollSeed } from './form.ts'
import { createFrames } from './frames.ts'
import { drawMark } from './mark.ts'
import { grid, save } from './png.ts'
import {
  detect,
  type LoadProgress,
  listModels,
  load,
  loadManifest,
  type Manifest,
  type Model,
  type SampleStep,
  sharedWords,
  UserError,
} from './sampler.ts'
import { defaultSettings, fromQuery, type Settings, toQuery } from './settings.ts'
import { createStatus } from './status.ts'
import { createViewer } from './viewer.ts'
import { count, duration, megabytes } from './words.ts'

const form = createForm({
  onModel: (name) => attempt(() => choose(name)),
  onCount: (pictures) => {
    planned = pictures
    if (!running) labelDraw()
    if (manifest && !running && !drawn) clearSheet(manifest, pictures)
  },
})
const frames = createFrames((index) => open(index))
const status = createStatus()
const view = createViewer()
const drawButton = byId('draw', HTMLButtonElement)
const saveGrid = byId('save-grid', HTMLButtonElement)
const copyLink = byId('copy-link', HTMLButtonElement)

let manifest: Manifest | null = null
let model: Model | null = null
/** How many pictures the form asks for. */
let planned = 16
/** What the sheet shows, once it is done. */
let drawn: { settings: Settings; pictures: ImageData[] } | null = null
/** The drawing under way. */
let running: AbortController | null = null

drawMark(byId('mark', HTMLCanvasElement))
byId('settings', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault()
  attempt(draw)
})
drawButton.addEventListener('click', () => running?.abort())
saveGrid.addEventListener('click', () => {
  if (drawn) attempt(() => save(grid(drawn!.pictures), `${fileName(drawn!.settings)}.png`))
})
copyLink.addEventListener('click', () =>
  attempt(async () => {
    try {
      await navigator.clipboard.writeText(location.href)
      status.say('The link to these pictures is copied.')
    } catch {
      status.say('This browser forbids copying here; the link is in its address bar.')
    }
  }),
)
// Makes the page work without a network; where a browser has or allows no service worker, it works with one.
const wasControlled = Boolean(navigator.serviceWorker?.controller)
navigator.serviceWorker?.register('/offline.js').catch(() => {})
attempt(start)

async function start(): Promise<void> {
  const { deviceReason } = await detect()
  byId('device', HTMLElement).textContent = `Draws on ${deviceReason}.`
  const models = await listModels()
  if (models.length === 0) {
    for (const id of ['settings', 'action']) byId(id, HTMLElement).hidden = true
    byId('nothing', HTMLElement).hidden = false
    frames.clear(planned, { width: 32, height: 32 })
    return
  }
  form.offer(models)
  try {
    const link = fromQuery(location.search)
    await choose(link.model ?? models[0]!.name, link)
    if (link.seed !== undefined) await draw()
  } catch (error) {
    // A link that cannot be followed still leaves a page that works.
    if (!manifest) await choose(models[0]!.name)
    throw error
  }
}

/** Makes a model the one to draw from. What a link says goes before what the manifest offers. */
async function choose(name: string, link: Partial<Settings> = {}): Promise<void> {
  running?.abort()
  drawButton.disabled = true
  form.enable()
  const chosen = await loadManifest(name)
  const { className } = link
  if (className && ![...chosen.classes, ...sharedWords(chosen.classes)].includes(className)) {
    const known = chosen.classes.join(', ') || 'none'
    throw new UserError(`The link asks for the class "${className}"; the classes of ${name} are: ${known}.`)
  }
  const settings = { ...defaultSettings(chosen, rollSeed()), ...link }
  form.fill(chosen, settings)
  showFacts(chosen)
  planned = settings.count
  labelDraw()
  clearSheet(chosen, settings.count)
  manifest = chosen
  drawButton.disabled = false
}

/** Empty frames, ready to be drawn into. */
function clearSheet({ name, shape }: Manifest, pictures: number): void {
  drawn = null
  frames.clear(pictures, shape)
  byId('caption', HTMLElement).textContent = name
  status.progress('', 0)
  enableSheet(false)
}

function labelDraw(): void {
  drawButton.textContent = `Draw ${count(planned, 'picture')}`
}

/** Whether the sheet is done, so that its pictures can be opened and saved. */
function enableSheet(enabled: boolean): void {
  frames.enable(enabled)
  saveGrid.disabled = copyLink.disabled = !enabled
  byId('hint', HTMLElement).hidden = !enabled
}

async function draw(): Promise<void> {
  const settings = form.read()
  if (!settings || !manifest || running) return
  running = new AbortController()
  const { signal } = running
  history.replaceState(null, '', toQuery(settings))
  clearSheet(manifest, settings.count)
  byId('caption', HTMLElement).textContent = captionOf(settings)
  // While it draws, the button stops, and Enter in a field does nothing.
  drawButton.type = 'button'
  drawButton.textContent = 'Stop'
  byId('sheet', HTMLElement).scrollIntoView({ block: 'nearest', behavior: scrolling() })
  try {
    const { model: _, className, ...sampled } = settings
    const ready = await modelFor(settings.model, signal)
    const began = performance.now()
    status.say(`Drawing ${count(settings.count, 'picture')}.`)
    const pictures = await ready.sample({ ...sampled, class: className, signal, onStep: showStep })
    const seconds = (performance.now() - began) / 1000
    drawn = { settings, pictures: pictures.map(({ pixels }) => pixels) }
    frames.show(drawn.pictures)
    enableSheet(true)
    status.progress('', 1)
    status.say(`${count(settings.count, 'picture')} in ${duration(seconds)}.`)
  } catch (error) {
    status.progress('', 0)
    if (!signal.aborted) {
      // Whatever went wrong there, the next drawing starts with a fresh worker.
      model?.dispose()
      model = null
      throw error
    }
    status.say('Stopped.')
  } finally {
    running = null
    drawButton.type = 'submit'
    labelDraw()
  }
}

/** The model, loaded once for all its drawings. */
async function modelFor(name: string, signal: AbortSignal): Promise<Model> {
  if (model?.manifest.name === name) return model
  model?.dispose()
  model = null
  status.say('Loading the model.')
  model = await load(name, { signal, onProgress: showLoading })
  byId('device', HTMLElement).textContent = `Draws on ${model.deviceReason}.`
  keepAnswers(name).catch(() => {})
  return model
}

/** On the first visit the service worker comes too late to keep what the server said: it is asked once more. */
async function keepAnswers(name: string): Promise<void> {
  const { serviceWorker } = navigator
  if (!serviceWorker || wasControlled) return
  if (!serviceWorker.controller) {
    await new Promise((resolve) =>
      serviceWorker.addEventListener('controllerchange', resolve, { once: true }),
    )
  }
  await Promise.all([listModels(), loadManifest(name)])
}

function showLoading(progress: LoadProgress): void {
  if (progress.stage === 'fallback') {
    status.say(progress.reason)
  } else if (progress.stage === 'prepare') {
    status.progress('Preparing the model', null)
  } else {
    const { loaded, total, secondsLeft } = progress
    const left = secondsLeft === null ? '' : `, ${duration(secondsLeft)} left`
    status.progress(`Downloading, ${megabytes(loaded)} of ${megabytes(total)} MB${left}`, loaded / total)
  }
}

function showStep({ step, steps, secondsLeft, x }: SampleStep): void {
  const done = step + 1
  const left = secondsLeft === null || done === steps ? '' : `, ${duration(secondsLeft)} left`
  status.progress(`Step ${done} of ${steps}${left}`, done / steps)
  if (x) frames.show(x)
}

function open(index: number): void {
  if (!drawn) return
  const { settings, pictures } = drawn
  view(pictures[index]!, `${captionOf(settings)} · no. ${index + 1}`, `${fileName(settings)}-${index + 1}`)
}

function captionOf({ model, className, guidance, seed, sampler, steps }: Settings): string {
  const asked = [
    ...(className === null ? [] : [className]),
    ...(guidance === 1 ? [] : [`guidance ${guidance}`]),
  ]
  return [model, ...asked, `seed ${seed}`, `${sampler} ${steps}`].join(' · ')
}

function fileName({ model, seed }: Settings): string {
  return `${model.split('/')[1]}-seed${seed}`
}

function scrolling(): ScrollBehavior {
  return matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'
}

/** Does it, and shows what went wrong in words. */
async function attempt(action: () => Promise<void>): Promise<void> {
  const message = byId('message', HTMLElement)
  message.hidden = true
  try {
    await action()
  } catch (error) {
    message.textContent =
      error instanceof UserError ? error.message : `Something went wrong: ${(error as Error).message}`
    message.hidden = false
    message.scrollIntoView({ block: 'nearest', behavior: scrolling() })
  }
}
