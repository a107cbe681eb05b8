/**
 * `<diffusion-canvas>`: shows images that a published model generates on the visitor's device. The page
 * needs no other script.
 *
 * @example
 * ```html
 * <script type="module" src="https://ddpm.example/diffusion-canvas.js"></script>
 * <diffusion-canvas model="https://ddpm.example/someone/shapes" seed="7"></diffusion-canvas>
 * ```
 *
 * Attributes: `model` (address as for `load`), `seed` (default: 0), `count`, `steps`, `sampler`, `class`, `guidance`
 * (defaults as for `sample`).
 *
 * Behaviour:
 * - The element generates when it scrolls into view. A click, Enter or Space generates the next seed.
 * - If the visitor's browser saves data, nothing is downloaded before the first click.
 * - If the visitor prefers reduced motion, only the finished image is shown.
 *
 * Events, which do not bubble: `progress` (detail: LoadProgress), `step` (detail: SampleStep), `done` (detail:
 * { seed, images }) and `error` (detail: the error).
 */
import { prefersReducedData } from '@ddpm/shared/dom'
import {
  type GeneratedImage,
  load,
  type Model,
  type SampleOptions,
  SamplerError,
  samplers,
} from './browser.ts'

const attributes = ['model', 'seed', 'count', 'steps', 'sampler', 'class', 'guidance'] as const

const css = `
  :host { display: inline-block; inline-size: 16rem; max-inline-size: 100%; }
  :host([hidden]) { display: none; }
  button { display: grid; inline-size: 100%; padding: 0; border: 0; background: none; font: inherit; color: inherit;
    cursor: pointer; }
  button:focus-visible { outline: 2px solid; outline-offset: 2px; }
  canvas { inline-size: 100%; aspect-ratio: 1; image-rendering: pixelated; background: color-mix(in srgb, currentcolor 8%, transparent); }
  progress { inline-size: 100%; block-size: 0.25rem; }
  progress[hidden] { display: block; visibility: hidden; }
  p { margin: 0; font-size: 0.8rem; overflow-wrap: anywhere; }
  p:empty { display: none; }
`

/** Style sheet that all elements share. Created with the first element: servers that render pages have no style sheets. */
let style: CSSStyleSheet | null = null

function sharedStyle(): CSSStyleSheet {
  if (style === null) {
    style = new CSSStyleSheet()
    style.replaceSync(css)
  }
  return style
}

/** HTMLElement, or a substitute when a server imports this module to render a page. */
const BaseElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement)

export class DiffusionCanvas extends BaseElement {
  static readonly observedAttributes = attributes

  readonly #button = document.createElement('button')
  readonly #canvas = document.createElement('canvas')
  readonly #bar = document.createElement('progress')
  readonly #message = document.createElement('p')
  readonly #observer = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return
    this.#observer.disconnect()
    this.#visible = true
    this.#schedule()
  })
  #model: { readonly address: string; readonly loaded: Promise<Model> } | null = null
  /** Aborts the current generation; null if there is none. */
  #running: AbortController | null = null
  /** Whether the element has been in view. */
  #visible = false
  /** Whether the model may be downloaded: after a click, or if the browser does not save data. */
  #permitted = false
  #scheduled = false

  constructor() {
    super()
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true })
    root.adoptedStyleSheets = [sharedStyle()]
    this.#button.type = 'button'
    this.#button.append(this.#canvas, this.#bar)
    this.#bar.hidden = true
    this.#message.setAttribute('role', 'status')
    root.append(this.#button, this.#message)
    this.#button.addEventListener('click', () => this.#handleClick())
  }

  connectedCallback(): void {
    this.#updateLabel()
    this.#observer.observe(this)
  }

  disconnectedCallback(): void {
    this.#observer.disconnect()
    this.#visible = false
    this.#running?.abort()
    this.#dispose()
  }

  attributeChangedCallback(): void {
    this.#updateLabel()
    if (this.#visible) this.#schedule()
  }

  /** Generates the next seed, or the current seed if nothing was generated yet. */
  #handleClick(): void {
    const isFirst = !this.#permitted
    this.#permitted = this.#visible = true
    if (isFirst && this.#running === null) this.#schedule()
    else this.setAttribute('seed', String(this.#seed() + 1))
  }

  /** Generates in a microtask, so that several attribute changes cause one generation. */
  #schedule(): void {
    if (!this.#permitted && prefersReducedData()) {
      this.#message.textContent = 'Press to download the model and generate an image.'
      return
    }
    this.#permitted = true
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      if (this.isConnected) this.#generate()
    })
  }

  async #generate(): Promise<void> {
    this.#running?.abort()
    const controller = new AbortController()
    this.#running = controller
    const { signal } = controller
    this.#message.textContent = ''
    this.#bar.removeAttribute('value')
    this.#bar.hidden = false
    try {
      const model = await this.#load()
      signal.throwIfAborted()
      const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)').matches
      const images = await model.sample({
        ...this.#options(),
        previewEvery: reducedMotion ? 0 : 'auto',
        signal,
        onStep: (step) => {
          this.#bar.value = (step.step + 1) / step.steps
          if (step.x) this.#render(step.x)
          this.#emit('step', step)
        },
      })
      this.#render(images.map(({ pixels }) => pixels))
      this.#updateLabel()
      this.#emit('done', { seed: this.#seed(), images })
    } catch (error) {
      if (signal.aborted) return
      this.#message.textContent = error instanceof Error ? error.message : String(error)
      this.#emit('error', error)
    } finally {
      if (this.#running === controller) {
        this.#running = null
        this.#bar.hidden = true
      }
    }
  }

  /** Loads the model once per address. */
  #load(): Promise<Model> {
    const address = this.getAttribute('model')
    if (!address) {
      throw new SamplerError(
        'bad-option',
        'Missing attribute of diffusion-canvas: expected model="https://host/owner/name".',
      )
    }
    if (this.#model?.address === address) return this.#model.loaded
    this.#dispose()
    const loaded = load(address, {
      onProgress: (progress) => {
        if (progress.stage === 'download') this.#bar.value = progress.loaded / progress.total
        this.#emit('progress', progress)
      },
    })
    const model = { address, loaded }
    this.#model = model
    loaded.catch(() => {
      // The next generation loads again.
      if (this.#model === model) this.#model = null
    })
    return loaded
  }

  #dispose(): void {
    this.#model?.loaded.then(
      (model) => model.dispose(),
      () => {},
    )
    this.#model = null
  }

  #options(): SampleOptions {
    const number = (name: (typeof attributes)[number]) => {
      const text = this.getAttribute(name)
      if (text === null) return undefined
      if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
      throw new SamplerError('bad-option', `Invalid ${name}="${text}": expected a number.`)
    }
    const sampler = this.getAttribute('sampler')
    if (sampler !== null && !(samplers as readonly string[]).includes(sampler)) {
      throw new SamplerError(
        'bad-option',
        `Unknown sampler="${sampler}": expected one of ${samplers.join(', ')}.`,
      )
    }
    const options = {
      seed: number('seed') ?? 0,
      count: number('count'),
      steps: number('steps'),
      guidance: number('guidance'),
      sampler: sampler ?? undefined,
      class: this.getAttribute('class'),
    }
    return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  }

  #seed(): number {
    return Number(this.getAttribute('seed') ?? 0) || 0
  }

  /** Renders images as a grid that is as close to a square as possible. */
  #render(images: readonly GeneratedImage['pixels'][]): void {
    const { width, height } = images[0]!
    const columns = Math.ceil(Math.sqrt(images.length))
    const rows = Math.ceil(images.length / columns)
    if (this.#canvas.width !== columns * width || this.#canvas.height !== rows * height) {
      this.#canvas.width = columns * width
      this.#canvas.height = rows * height
      this.#canvas.style.aspectRatio = `${columns * width} / ${rows * height}`
    }
    const context = this.#canvas.getContext('2d')!
    for (const [i, image] of images.entries()) {
      context.putImageData(image, (i % columns) * width, Math.floor(i / columns) * height)
    }
  }

  #updateLabel(): void {
    const name = this.getAttribute('model')?.split('/').slice(-2).join('/') ?? 'no model'
    const description =
      this.getAttribute('aria-label') ?? `Generated by the diffusion model ${name}, seed ${this.#seed()}`
    this.#button.setAttribute('aria-label', `${description}. Press to generate another image.`)
  }

  #emit(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }))
  }
}

if (globalThis.customElements && !customElements.get('diffusion-canvas')) {
  customElements.define('diffusion-canvas', DiffusionCanvas)
}

declare global {
  interface HTMLElementTagNameMap {
    'diffusion-canvas': DiffusionCanvas
  }
}
