import { detect, listModels, loadManifest, type Manifest, sharedWords, UserError } from 'ddpm-sampler'
import { createForm, rollSeed } from '../settings/form.ts'
import {
  defaultSettings,
  deterministic,
  fromLink,
  planOf,
  type Settings,
  type Start,
  toLink,
} from '../settings/settings.ts'
import { createFrames } from '../ui/contact-sheet.ts'
import { byId } from '../ui/dom.ts'
import { reportErrors, scrolling } from '../ui/error-banner.ts'
import { count, duration } from '../ui/format.ts'
import { renderLogo } from '../ui/logo.ts'
import { savesData, wantsCalm } from '../ui/preferences.ts'
import { createStatus } from '../ui/status.ts'
import { type Kept, openFavourites } from './favourites.ts'
import type { Frame } from './frames.ts'
import { showShelf } from './gallery.ts'
import { captionOf, type Generation, generateImages, prepareStart, startImages } from './generation.ts'
import { showFacts } from './model-facts.ts'
import { markModel, offerModels } from './models.ts'
import { createSession } from './session.ts'
import { createTimeline } from './timeline.ts'
import { createTools, thumbnailOf } from './tools.ts'

const status = createStatus()
const session = createSession(status)
const form = createForm(() => changed())
const frames = createFrames((index) => pick(index))
const strip = createTimeline((frame) => frames.show(frame.x))
const tools = createTools({
  onStart: (start) => reportErrors(() => drawFrom(start)),
  onPaint: paintOver,
  onKeep: keep,
  say: status.say,
  attempt: reportErrors,
})
const storage = memory()
/** Others of this host may be studios, too. */
const folder = new URL('.', location.href).pathname
const history = openFavourites(`ddpm-history ${folder}`, 24, storage)
const favourites = openFavourites(`ddpm-favourites ${folder}`, 48, storage)
const drawButton = byId('draw', HTMLButtonElement)

let manifest: Manifest | null = null
/** What the sheet shows, once it is done. */
let drawn: Generation | null = null
let picked = 0
/** The drawing under way. */
let running: AbortController | null = null

renderLogo(byId('mark', HTMLCanvasElement))
byId('settings', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault()
  reportErrors(draw)
})
drawButton.addEventListener('click', (event) => {
  if (!running) return
  running.abort()
  // By the time the click takes its effect, the button draws again.
  event.preventDefault()
})
// Makes the page work without a network; where a browser has or allows no service worker, it works with one.
navigator.serviceWorker?.register('offline.js').catch(() => {})
showShelves()
reportErrors(start)

async function start(): Promise<void> {
  const link = fromLink(location.search, location.hash)
  // What is wrong with it is said once there is a page to say it on.
  link.catch(() => {})
  const [{ device, deviceReason }, models] = await Promise.all([detect(), listModels()])
  byId('device', HTMLElement).textContent = `Draws on ${deviceReason}.`
  if (models.length === 0) {
    for (const id of ['settings', 'action']) byId(id, HTMLElement).hidden = true
    byId('nothing', HTMLElement).hidden = false
    return
  }
  offerModels(models, (name) => reportErrors(() => choose(name)))
  // WebAssembly takes its time: fewer pictures are done sooner.
  const welcome = device === 'wasm' ? 8 : 16
  try {
    const said = await link
    await choose(said.model ?? models[0]!.name, said, welcome)
    if (said.seed !== undefined || !savesData()) await draw()
  } catch (error) {
    // A link that cannot be followed still leaves a page that works.
    if (!manifest) await choose(models[0]!.name)
    throw error
  }
}

/** Makes a model the one to draw from. What a link says goes before what the manifest offers. */
async function choose(name: string, link: Partial<Settings> = {}, images?: number): Promise<void> {
  running?.abort()
  drawButton.disabled = true
  const chosen = await loadManifest(name)
  checkClass(chosen, link.class)
  const settings = { ...defaultSettings(chosen, rollSeed(), images), ...link }
  manifest = chosen
  form.enable()
  form.fill(chosen, settings)
  markModel(name)
  showFacts(chosen)
  await prepareStart(chosen, settings)
  // Another one may have been chosen meanwhile.
  if (manifest !== chosen) return
  clearSheet(settings)
  changed()
  drawButton.disabled = false
}

function checkClass({ name, classes }: Manifest, asked: string | null | undefined): void {
  if (!asked || [...classes, ...sharedWords(classes)].includes(asked)) return
  const known = classes.join(', ') || 'none'
  throw new UserError(`The link asks for the class "${asked}"; the classes of ${name} are: ${known}.`)
}

/** The fields say something else: the sheet, where nothing is drawn, follows. */
function changed(): void {
  const settings = form.peek()
  if (!settings || !manifest || running) return
  if (!drawn) clearSheet(settings)
  announce(settings)
}

/** The button and the chart say what would be drawn. */
function announce(settings: Settings): void {
  drawButton.textContent = `Draw ${count(settings.count, 'picture')}`
  const { start } = settings
  try {
    strip.plan(planOf(manifest!, settings), start.kind === 'image' ? start.strength : 1)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    status.progress(error.message, 0)
  }
}

/** The sheet before the first step: noise, or the picture that a drawing starts from. */
function clearSheet(settings: Settings): void {
  drawn = null
  strip.clear()
  frames.clear(settings.count, manifest!.shape)
  frames.show(startImages(manifest!, settings))
  pick(Math.min(picked, settings.count - 1))
  byId('caption', HTMLElement).textContent = captionOf(settings)
  status.progress('', 0)
}

async function draw(): Promise<void> {
  const settings = form.read()
  if (!settings || !manifest || running) return
  running = new AbortController()
  const { signal } = running
  globalThis.history.replaceState(null, '', toLink(settings))
  clearSheet(settings)
  // While it draws, the button stops, and Enter in a field does nothing.
  drawButton.type = 'button'
  drawButton.textContent = 'Stop'
  byId('sheet', HTMLElement).scrollIntoView({ block: 'nearest', behavior: scrolling() })
  try {
    const model = await session.model(settings.model, signal)
    const began = performance.now()
    status.say(`Drawing ${count(settings.count, 'picture')}.`)
    drawn = await generateImages(model, settings, { signal, onProgress: progressShower() })
    frames.show(drawn.images)
    strip.load(drawn.frames)
    pick(picked)
    if (settings.start.kind === 'noise') form.paper(drawn.images)
    status.progress('', 1)
    status.say(`${count(settings.count, 'picture')} in ${duration((performance.now() - began) / 1000)}.`)
    history.put(keepsake(drawn, 0))
    showShelves()
  } catch (error) {
    status.progress('', 0)
    if (!signal.aborted) {
      // Whatever went wrong there, the next drawing starts with a fresh worker.
      session.drop()
      throw error
    }
    status.say('Stopped.')
  } finally {
    running = null
    drawButton.type = 'submit'
    announce(form.peek() ?? settings)
  }
}

/** Shows how far it is; pictures as often as the screen is painted, or only the last where motion is unwelcome. */
function progressShower(): Parameters<typeof generateImages>[2]['onProgress'] {
  let latest: Frame | null = null
  const show = () => {
    if (latest && running) {
      frames.show(latest.x)
      strip.follow(latest)
    }
    latest = null
  }
  return ({ step, steps, secondsLeft, frame }) => {
    const left = secondsLeft === null || step === steps ? '' : `, ${duration(secondsLeft)} left`
    status.progress(`Step ${step} of ${steps}${left}`, step / steps)
    if (!frame || wantsCalm()) return
    if (!latest) requestAnimationFrame(show)
    latest = frame
  }
}

/** Draws on from something in the sheet. */
async function drawFrom(start: Start): Promise<void> {
  if (!manifest || !drawn) return
  form.fill(manifest, deterministic({ ...drawn.settings, start }))
  await draw()
}

/** Puts a picture on the easel, to paint on or to cover. */
function paintOver(image: ImageData): void {
  if (!manifest || !drawn) return
  form.fill(manifest, { ...drawn.settings, start: { kind: 'image', strength: 0.6, image, mask: null } })
  changed()
  byId('board', HTMLElement).focus()
  byId('board', HTMLElement).scrollIntoView({ block: 'center', behavior: scrolling() })
}

function pick(index: number): void {
  if (tools.takes(index)) return
  picked = index
  frames.pick(index)
  strip.pick(index)
  tools.show(drawn, index)
  showKept()
}

function keepsake({ settings, images }: Generation, image: number): Kept {
  return {
    link: toLink(settings),
    title: captionOf(settings),
    thumbnail: thumbnailOf(images[image]!),
    image,
  }
}

/** Keeps a picture, or no longer. */
function keep(drawing: Generation, image: number): void {
  const item = keepsake(drawing, image)
  if (isKept(item)) favourites.remove(item)
  else favourites.put(item)
  showShelves()
  showKept()
}

function isKept({ link, image }: Kept): boolean {
  return favourites.items.some((item) => item.link === link && item.image === image)
}

function showKept(): void {
  byId('keep', HTMLButtonElement).setAttribute(
    'aria-pressed',
    String(drawn !== null && isKept(keepsake(drawn, picked))),
  )
}

function showShelves(): void {
  const again = (item: Kept) => reportErrors(() => drawAgain(item))
  showShelf('history', history, again)
  showShelf('favourites', favourites, again)
}

async function drawAgain({ link, image }: Kept): Promise<void> {
  const { search, hash } = new URL(link, location.href)
  const settings = await fromLink(search, hash)
  await choose(settings.model!, settings)
  picked = image
  await draw()
}

/** The browser's memory, where it lets pages have some. */
function memory(): Storage | null {
  try {
    return localStorage
  } catch {
    return null
  }
}
