import { qSample } from '@ddpm/shared/process'
import {
  detect,
  listModels,
  load,
  loadManifest,
  type Manifest,
  type Model,
  startNoise,
  UserError,
} from 'ddpm-sampler'
import { createDrawingBoard, type DrawingBoard } from '../canvas/drawing-board.ts'
import { byId, make, paint } from '../ui/dom.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { megabytes } from '../ui/format.ts'
import { renderLogo } from '../ui/logo.ts'
import { pixelsOf, valuesOf } from '../ui/pixels.ts'
import { savesData } from '../ui/preferences.ts'
import { createCurves } from './curves.ts'
import { meanSquare, type Process, processOf, sunrise } from './process.ts'
import { createWalk, type Walk } from './walk.ts'

/** What the page is about: one picture, one noise, one timestep. */
interface Scene {
  readonly manifest: Manifest
  readonly process: Process
  x0: Float32Array
  /** Of which seed the noise is. */
  seed: number
  className: string | null
}

const slider = byId('t', HTMLInputElement)
const curves = createCurves()
byId('curves', HTMLElement).append(curves.element)
const show = (id: string, image: ImageData) => paint(byId(id, HTMLCanvasElement), image)
const say = (id: string, text: string) => {
  byId(id, HTMLOutputElement).value = text
}

let scene: Scene | null = null
let model: Model | null = null
let walk: Walk | null = null
let easel: DrawingBoard | null = null

renderLogo(byId('mark', HTMLCanvasElement))
slider.addEventListener('input', () => reportErrors(render))
byId('other-noise', HTMLButtonElement).addEventListener('click', () => {
  if (!scene) return
  scene.seed++
  reportErrors(render)
})
navigator.serviceWorker?.register('../offline.js').catch(() => {})
reportErrors(start)

async function start(): Promise<void> {
  const [{ deviceReason }, models] = await Promise.all([detect(), listModels()])
  byId('device', HTMLElement).textContent = `Runs on ${deviceReason}.`
  const wanted = new URLSearchParams(location.search).get('model') ?? models[0]?.name
  if (wanted === undefined) {
    throw new UserError('No model is published here yet. Publish one, as the studio says, and come again.')
  }
  const manifest = await loadManifest(wanted)
  const process = processOf(manifest)
  scene = { manifest, process, x0: sunrise(manifest.shape), seed: 1, className: null }
  slider.max = String(process.timesteps - 1)
  slider.value = String(Math.round(process.timesteps * 0.3))
  curves.show(process)
  offerClasses(manifest)
  easel = offerEasel(manifest)
  offer(scene.x0, 'A sunrise')
  await render()
  if (!savesData()) return wake()
  const button = make('button', { type: 'button' }, 'Load the model')
  button.addEventListener('click', () => {
    button.remove()
    reportErrors(wake)
  })
  byId('choices', HTMLElement).after(button)
}

/** Brings the network to life, and pictures of its own to choose from. */
async function wake(): Promise<void> {
  const { manifest, process } = scene!
  model = await load(manifest.name, {
    onProgress: (progress) => {
      if (progress.stage === 'download') {
        say(
          'loss',
          `Downloading the model, ${megabytes(progress.loaded)} of ${megabytes(progress.total)} MB.`,
        )
      }
    },
  })
  byId('device', HTMLElement).textContent = `Runs on ${model.deviceReason}.`
  walk = createWalk(model, process, reportErrors)
  await render()
  const drawn = await model.sample({
    count: 4,
    seed: 1,
    sampler: 'dpmpp',
    order: 2,
    steps: 15,
    previewEvery: 0,
  })
  easel?.paper(drawn.map(({ pixels }) => pixels))
  for (const [i, { values }] of drawn.entries()) offer(values.slice(), `Picture ${i + 1} of the model`)
  // One of its own says more than a drawing it has never seen the like of.
  byId('choices', HTMLElement).querySelectorAll('button')[1]?.click()
}

/** Adds a picture to choose from. */
function offer(x0: Float32Array, label: string): void {
  const canvas = make('canvas')
  paint(canvas, pixelsOf(x0, scene!.manifest.shape))
  const button = make(
    'button',
    { type: 'button', class: 'choice', 'aria-label': label, 'aria-pressed': 'false' },
    canvas,
  )
  button.addEventListener('click', () => reportErrors(() => choose(x0, button)))
  byId('choices', HTMLElement).append(button)
}

async function choose(x0: Float32Array, chosen: HTMLElement | null = null): Promise<void> {
  for (const button of byId('choices', HTMLElement).querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button === chosen))
  }
  scene!.x0 = x0
  await render()
}

function offerEasel({ shape }: Manifest): DrawingBoard {
  const easel = createDrawingBoard(() => reportErrors(() => choose(valuesOf(easel.image(), shape))))
  easel.resize(shape)
  return easel
}

function offerClasses({ classes }: Manifest): void {
  const select = byId('class', HTMLSelectElement)
  byId('class-field', HTMLElement).hidden = classes.length === 0
  select.replaceChildren(
    make('option', { value: '' }, 'anything'),
    ...classes.map((name) => make('option', { value: name }, name)),
  )
  select.addEventListener('change', () => {
    scene!.className = select.value || null
    reportErrors(render)
  })
}

/** Everything that depends on picture, noise and timestep. */
async function render(): Promise<void> {
  if (!scene) return
  const { manifest, process, x0, seed, className } = scene
  const t = slider.valueAsNumber
  const alphaBar = process.alphaBar[t]!
  const epsilon = startNoise(manifest, seed, 0)
  const xt = qSample(alphaBar, x0, epsilon)
  const image = (values: Float32Array) => pixelsOf(values, manifest.shape)
  show('x0', image(x0))
  show('epsilon', image(epsilon))
  show('xt', image(xt))
  show('seen-xt', image(xt))
  say('signal', percent(Math.sqrt(alphaBar)))
  say('deviation', percent(Math.sqrt(1 - alphaBar)))
  say('t-text', `t = ${t}`)
  slider.setAttribute('aria-valuetext', `t = ${t}, ${percent(Math.sqrt(alphaBar))} of the picture`)
  curves.at(t)
  if (!model) return
  walk?.from({ x: xt, t, className })
  await look({ xt, t, epsilon, className })
}

interface Sight {
  readonly xt: Float32Array
  readonly t: number
  readonly epsilon: Float32Array
  readonly className: string | null
}

let looking = false
/** What is to be looked at next: only the latest, while the slider is being dragged. */
let next: Sight | null = null

/** Asks the network what it sees, one question at a time. */
async function look(sight: Sight): Promise<void> {
  next = sight
  if (looking) return
  looking = true
  try {
    while (next) {
      const { xt, t, epsilon, className }: Sight = next
      next = null
      const seen = await model!.predict({ x: xt, t, ...(className !== null && { class: className }) })
      const image = (values: Float32Array) => pixelsOf(values, scene!.manifest.shape)
      show('seen-epsilon', image(seen.epsilon))
      show('seen-x0', image(seen.x0))
      walk?.foreseen(image(seen.x0))
      say('loss', `‖ε − ε_θ‖² per pixel and colour: ${meanSquare(epsilon, seen.epsilon).toFixed(4)}`)
    }
  } finally {
    looking = false
  }
}

function percent(value: number): string {
  return `${Math.round(value * 1000) / 10} %`
}
