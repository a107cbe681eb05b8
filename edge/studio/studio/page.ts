import { detect, listModels, type Manifest, type ModelSummary, sharedWords, UserError } from 'ddpm-sampler'
import type { Frame } from '../generation/frames.ts'
import { generateImages, type Progress } from '../generation/generate.ts'
import { prepareStartImages } from '../generation/start-images.ts'
import { createForm } from '../settings/form.ts'
import { fromLink, toLink } from '../settings/link.ts'
import {
  createPlan,
  defaultSettings,
  isBlank,
  type Settings,
  type Start,
  toDeterministic,
} from '../settings/settings.ts'
import { byId } from '../ui/dom.ts'
import { downloadSize } from '../ui/download-size.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { formatCount, formatDuration, formatMegabytes } from '../ui/format.ts'
import { renderLogo } from '../ui/logo.ts'
import { prefersReducedData, prefersReducedMotion, scrollBehavior } from '../ui/preferences.ts'
import { randomSeed } from '../ui/random-seed.ts'
import { createStatus } from '../ui/status.ts'
import { showFacts } from './model-facts.ts'
import { markModel, showModels } from './models.ts'
import { showNoModels, showWhileLoading } from './placeholder.ts'
import { createResults } from './results.ts'
import { createSession } from './session.ts'
import { createVisits } from './visits.ts'

const status = createStatus()
const session = createSession(status)
const form = createForm(handleChange)
const results = createResults({
  onStart: (start) => reportErrors(() => generateFrom(start)),
  onEdit: edit,
  onOpen: ({ link, picture }) => {
    const { search, hash } = new URL(link, location.href)
    reportErrors(() => open(search, hash, picture))
  },
  announce: status.announce,
})
const visits = createVisits(() => {
  if (models.length > 0) reportErrors(() => open(location.search, location.hash))
})
const generateButton = byId('generate', HTMLButtonElement)

/** The chosen model. */
let manifest: Manifest | null = null
/** The published models. */
let models: readonly ModelSummary[] = []
/** Bytes that the next generation downloads, if the visitor saves data. */
let downloadBytes = 0
/** Default number of images. */
let defaultCount = 16
/** The running generation: stops it, and waits until it has ended. null if none is running. */
let running: { readonly controller: AbortController; readonly ended: Promise<void> } | null = null

renderLogo(byId('logo', HTMLCanvasElement))
byId('settings', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault()
  reportErrors(generateNew)
})
generateButton.addEventListener('click', (event) => {
  if (!running) return
  running.controller.abort()
  // The button becomes a submit button again before the default action, which would start a new generation.
  event.preventDefault()
})
// The service worker makes the page available offline. It is optional: some browsers do not support service workers.
navigator.serviceWorker?.register('offline.js').catch(() => {})
reportErrors(start)

/** Shows the models, applies the link, and generates the first images. */
async function start(): Promise<void> {
  const [support, list] = await showWhileLoading(Promise.all([detect(), listModels()]))
  models = list
  byId('device', HTMLElement).textContent = `Runs on ${support.deviceReason}.`
  if (models.length === 0) return showNoModels()
  showModels(models, (name) => reportErrors(() => chooseModel(name)))
  // WebAssembly is slow: with fewer images, the visitor sees the result sooner.
  if (support.device === 'wasm') defaultCount = 8
  await open(location.search, location.hash)
}

/** Number of calls of `open`. */
let opened = 0

/**
 * Applies a link, and shows its images or generates them. A link without a seed opens the page, and generates only if the
 * visitor does not save data.
 * @param selected index of the image to select
 */
async function open(search: string, hash: string, selected = 0): Promise<void> {
  const call = ++opened
  await stop()
  try {
    const settings = await fromLink(search, hash)
    await chooseModel(settings.model ?? models[0]!.name, settings)
    // Meanwhile the visitor may have opened another link.
    if (call !== opened) return
    results.select(selected)
    const known = visits.find(search + hash)
    if (known) {
      visits.add(search + hash)
      results.show(known)
      status.announce('These are the images of that link.')
    } else if (settings.seed !== undefined || !prefersReducedData()) await generate()
  } catch (error) {
    // The page must work even if the link is invalid.
    if (!manifest) await chooseModel(models[0]!.name)
    throw error
  }
}

/** Stops the running generation, if any. */
async function stop(): Promise<void> {
  running?.controller.abort()
  await running?.ended
}

/**
 * Makes a model the current one.
 * @param settings settings of a link; they replace the defaults of the model
 */
async function chooseModel(name: string, settings: Partial<Settings> = {}): Promise<void> {
  running?.controller.abort()
  generateButton.disabled = true
  const chosen = await session.manifest(name)
  checkClass(chosen, settings.class)
  const seed = form.lockedSeed ?? randomSeed()
  const allSettings = { ...defaultSettings(chosen, seed, defaultCount), ...settings }
  manifest = chosen
  form.enable()
  form.fill(chosen, allSettings)
  markModel(name)
  showFacts(chosen)
  await prepareStartImages(chosen, allSettings)
  const bytes = prefersReducedData() ? await downloadSize(chosen) : 0
  // The visitor may have chosen another model in the meantime.
  if (manifest !== chosen) return
  downloadBytes = bytes
  clearResults(chosen, allSettings)
  handleChange()
  generateButton.disabled = false
}

function checkClass({ name, classes }: Manifest, className: string | null | undefined): void {
  const known = [...classes, ...sharedWords(classes)]
  const isKnown = (text: string) => known.includes(text)
  if (!className || isKnown(className) || className.split(/,\s*/).every(isKnown)) return
  throw new UserError(
    `Unknown class "${className}" in the link. Classes of ${name}: ${classes.join(', ') || 'none'}.`,
  )
}

/** Adapts the page to changed settings. Finished images stay. */
function handleChange(): void {
  const settings = form.read()
  if (!settings || !manifest || running) return
  if (!results.generation) clearResults(manifest, settings)
  preview(manifest, settings)
}

/** Shows what the next generation does: number of images on the button, noise levels in the chart. */
function preview(manifest: Manifest, settings: Settings): void {
  const { count, start } = settings
  const images = formatCount(count, 'image')
  generateButton.textContent =
    downloadBytes > 0
      ? `Download ${formatMegabytes(downloadBytes)} and generate ${images}`
      : `Generate ${images}`
  try {
    results.showPlan(createPlan(manifest, settings), start.kind === 'image' ? start.strength : 1)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    status.progress(error.message, 0)
  }
}

function clearResults(manifest: Manifest, settings: Settings): void {
  results.clear(manifest, settings)
  status.progress('', 0)
}

/** Generates new images: takes a new seed if the images of the current one have been shown, unless it is locked. */
async function generateNew(): Promise<void> {
  const settings = form.read()
  if (running) return
  // Otherwise the result would be the unchanged image.
  if (settings?.start.kind === 'image' && settings.start.mask && isBlank(settings.start.mask)) {
    throw new UserError(
      'Nothing is marked for inpainting: paint over the area that should change, or choose one below the board.',
    )
  }
  if (settings && results.generation && form.lockedSeed === null) form.renewSeed()
  const generation = generate()
  // On phones the button is at the bottom of the window, and the images may be far above.
  if (running)
    byId('contact-sheet', HTMLElement).scrollIntoView({ block: 'nearest', behavior: scrollBehavior() })
  await generation
}

/** Generates images with the settings of the form. */
async function generate(): Promise<void> {
  const settings = form.submit()
  if (!settings || !manifest || running) return
  const controller = new AbortController()
  const generation = run(manifest, settings, controller.signal).finally(() => {
    running = null
    generateButton.type = 'submit'
    preview(manifest!, form.read() ?? settings)
  })
  running = { controller, ended: generation.catch(() => {}) }
  await generation
}

/** Loads the model, generates, and shows the progress and the result. */
async function run(chosen: Manifest, settings: Settings, signal: AbortSignal): Promise<void> {
  visits.add(toLink(settings))
  clearResults(chosen, settings)
  // While generating, the button stops the generation, and Enter in a field does nothing.
  generateButton.type = 'button'
  generateButton.textContent = 'Stop'
  try {
    const model = await session.model(chosen, signal)
    downloadBytes = 0
    const startTime = performance.now()
    const images = formatCount(settings.count, 'image')
    status.announce(`Generating ${images}.`)
    const generation = await generateImages(model, settings, { signal, onProgress: createProgressHandler() })
    results.show(generation)
    visits.retain(generation)
    if (settings.start.kind === 'noise') form.setBackground(generation.images)
    status.progress('', 1)
    const duration = formatDuration((performance.now() - startTime) / 1000)
    status.announce(`Generated ${images} in ${duration}.`)
  } catch (error) {
    status.progress('', 0)
    if (!signal.aborted) {
      // After an error, the next generation needs a new worker.
      session.reset()
      throw error
    }
    status.announce('Stopped.')
  }
}

/**
 * Returns a progress handler. It renders at most one frame per screen refresh, and none if the visitor prefers reduced
 * motion.
 */
function createProgressHandler(): (progress: Progress) => void {
  let latest: Frame | null = null
  const render = () => {
    if (latest && running) results.showFrame(latest)
    latest = null
  }
  return ({ step, steps, secondsLeft, frame }) => {
    const left = secondsLeft === null || step === steps ? '' : `, ${formatDuration(secondsLeft)} left`
    status.progress(`Step ${step} of ${steps}${left}`, step / steps)
    if (!frame || prefersReducedMotion()) return
    if (!latest) requestAnimationFrame(render)
    latest = frame
  }
}

/** Generates variations or an interpolation of the images that are shown. */
async function generateFrom(start: Start): Promise<void> {
  if (!manifest || !results.generation) return
  form.fill(manifest, toDeterministic({ ...results.generation.settings, start }))
  await generate()
}

/** Opens an image on the drawing board. */
function edit(image: ImageData): void {
  if (!manifest || !results.generation) return
  const start: Start = { kind: 'image', strength: 0.6, image, mask: null }
  form.fill(manifest, { ...results.generation.settings, start })
  handleChange()
  const board = byId('board', HTMLElement)
  board.focus()
  board.scrollIntoView({ block: 'center', behavior: scrollBehavior() })
}
