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
import { downloadSize } from '../ui/download-size.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { formatMegabytes, formatPercent } from '../ui/format.ts'
import { renderLogo } from '../ui/logo.ts'
import { toCanvas, toImage, toValues } from '../ui/pixels.ts'
import { prefersReducedData } from '../ui/preferences.ts'
import { createCurves } from './curves.ts'
import { meanSquare, type Process, processOf, sunrise } from './process.ts'
import { createReverseProcess, type ReverseProcess } from './reverse-process.ts'

/** State of the page: a model, a clean image, noise and a class. */
interface Scene {
  readonly manifest: Manifest
  readonly process: Process
  /** The clean image, [channels, height, width]. */
  x0: Float32Array
  /** Seed of the noise. */
  seed: number
  className: string | null
}

const slider = byId('t', HTMLInputElement)
const curves = createCurves()
byId('curves', HTMLElement).append(curves.element)

let scene: Scene | null = null
let model: Model | null = null
let reverseProcess: ReverseProcess | null = null
let drawingBoard: DrawingBoard | null = null

renderLogo(byId('logo', HTMLCanvasElement))
slider.addEventListener('input', () => reportErrors(render))
byId('new-noise', HTMLButtonElement).addEventListener('click', () => {
  if (!scene) return
  scene.seed++
  reportErrors(render)
})
loadLaboratory()
navigator.serviceWorker?.register('../offline.js').catch(() => {})
reportErrors(start)

/** Loads the script of the last section when the visitor comes near it. */
function loadLaboratory(): void {
  const section = byId('laboratory', HTMLElement)
  const observer = new IntersectionObserver(
    ([entry]) => {
      if (!entry!.isIntersecting) return
      observer.disconnect()
      // An error replaces the message in the banner; success must not hide it.
      import('./laboratory/laboratory.ts').then(
        ({ createLaboratory }) => createLaboratory(),
        (error) => reportErrors(() => Promise.reject(error)),
      )
    },
    { rootMargin: '50%' },
  )
  observer.observe(section)
}

/** Shows the forward process, which needs no model, and then loads the model. */
async function start(): Promise<void> {
  const [{ deviceReason }, models] = await Promise.all([detect(), listModels()])
  byId('device', HTMLElement).textContent = `Runs on ${deviceReason}.`
  const name = new URLSearchParams(location.search).get('model') ?? models[0]?.name
  if (name === undefined) {
    // The figures need a model. The text is useful without them.
    document.body.classList.add('no-model')
    throw new UserError('No model has been published yet. The studio explains how to publish one.')
  }
  const manifest = await loadManifest(name)
  const process = processOf(manifest)
  scene = { manifest, process, x0: sunrise(manifest.shape), seed: 1, className: null }
  slider.max = String(process.timesteps - 1)
  slider.value = String(Math.round(process.timesteps * 0.3))
  curves.show(process)
  connectClasses(manifest)
  drawingBoard = connectDrawingBoard(manifest)
  addChoice(scene.x0, 'A sunrise')
  await render()
  if (!prefersReducedData()) return startModel()
  const button = make(
    'button',
    { type: 'button' },
    `Download the model, ${formatMegabytes(await downloadSize(manifest, '../'))}`,
  )
  button.addEventListener('click', () => {
    button.remove()
    reportErrors(startModel)
  })
  byId('choices', HTMLElement).after(button)
}

/** Loads the model and offers samples of it as clean images. */
async function startModel(): Promise<void> {
  const { manifest, process } = scene!
  model = await load(manifest.name, {
    manifest,
    onProgress(progress) {
      if (progress.stage !== 'download') return
      const [loaded, total] = [progress.loaded, progress.total].map(formatMegabytes)
      showText('loss', `Downloading the model, ${loaded} of ${total}.`)
    },
  })
  byId('device', HTMLElement).textContent = `Runs on ${model.deviceReason}.`
  reverseProcess = createReverseProcess(model, process)
  await render()
  const samples = await model.sample({
    count: 4,
    seed: 1,
    sampler: 'dpmpp',
    order: 2,
    steps: 15,
    previewEvery: 0,
  })
  drawingBoard?.setBackground(samples.map(({ pixels }) => pixels))
  for (const [i, { values }] of samples.entries()) addChoice(values.slice(), `Sample ${i + 1} of the model`)
  // Predictions are good for the model's own samples, but not for the sunrise, which is unlike its training images.
  byId('choices', HTMLElement).querySelectorAll('button')[1]?.click()
}

/** Adds a clean image to choose from. */
function addChoice(x0: Float32Array, label: string): void {
  const canvas = toCanvas(toImage(x0, scene!.manifest.shape))
  const attributes = { type: 'button', class: 'choice', 'aria-label': label, 'aria-pressed': 'false' }
  const button = make('button', attributes, canvas)
  button.addEventListener('click', () => reportErrors(() => choose(x0, button)))
  byId('choices', HTMLElement).append(button)
}

/** @param button the button of the image; null if it comes from the drawing board */
async function choose(x0: Float32Array, button: HTMLElement | null): Promise<void> {
  for (const other of byId('choices', HTMLElement).querySelectorAll('button')) {
    other.setAttribute('aria-pressed', String(other === button))
  }
  scene!.x0 = x0
  await render()
}

function connectDrawingBoard({ shape }: Manifest): DrawingBoard {
  const board = createDrawingBoard(() => reportErrors(() => choose(toValues(board.image(), shape), null)))
  board.resize(shape)
  return board
}

function connectClasses({ classes }: Manifest): void {
  const select = byId('class', HTMLSelectElement)
  byId('class-field', HTMLElement).hidden = classes.length === 0
  select.replaceChildren(
    make('option', { value: '' }, 'none'),
    ...classes.map((name) => make('option', { value: name }, name)),
  )
  select.addEventListener('change', () => {
    scene!.className = select.value || null
    reportErrors(render)
  })
}

/** Renders everything that depends on the image, the noise and the timestep. */
async function render(): Promise<void> {
  if (!scene) return
  const { process, x0, seed, className } = scene
  const t = slider.valueAsNumber
  const alphaBar = process.alphaBar[t]!
  const epsilon = startNoise(scene.manifest, seed, 0)
  const xt = qSample(alphaBar, x0, epsilon)
  showImage('x0', x0)
  showImage('epsilon', epsilon)
  showImage('xt', xt)
  showImage('input-xt', xt)
  const signal = formatPercent(Math.sqrt(alphaBar), 1)
  showText('signal', signal)
  showText('deviation', formatPercent(Math.sqrt(1 - alphaBar), 1))
  showText('t-text', `t = ${t}`)
  slider.setAttribute('aria-valuetext', `t = ${t}, ${signal} of the image`)
  curves.moveTo(t)
  if (!model) return
  reverseProcess?.restartFrom({ x: xt, t, className })
  await predict({ xt, t, epsilon, className })
}

interface Input {
  readonly xt: Float32Array
  readonly t: number
  readonly epsilon: Float32Array
  readonly className: string | null
}

let isPredicting = false
/** The input to predict next. While the slider moves, only the latest input matters. */
let nextInput: Input | null = null

/** Evaluates the model and shows its prediction, one input at a time. */
async function predict(input: Input): Promise<void> {
  nextInput = input
  if (isPredicting) return
  isPredicting = true
  try {
    while (nextInput) {
      const { xt, t, epsilon, className }: Input = nextInput
      nextInput = null
      const prediction = await model!.predict({ x: xt, t, ...(className !== null && { class: className }) })
      showImage('predicted-epsilon', prediction.epsilon)
      showImage('predicted-x0', prediction.x0)
      reverseProcess?.showPrediction(toImage(prediction.x0, scene!.manifest.shape))
      const error = meanSquare(epsilon, prediction.epsilon).toFixed(4)
      showText('loss', `Mean squared error of the predicted noise: ${error}`)
    }
  } finally {
    isPredicting = false
  }
}

function showImage(id: string, values: Float32Array): void {
  paint(byId(id, HTMLCanvasElement), toImage(values, scene!.manifest.shape))
}

function showText(id: string, text: string): void {
  byId(id, HTMLOutputElement).value = text
}
