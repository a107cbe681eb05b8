/**
 * `<diffusion-canvas>`: pictures that a published model draws on the visitor's device, without a line of script.
 *
 * @example
 * ```html
 * <script type="module" src="https://pictures.example/diffusion-canvas.js"></script>
 * <diffusion-canvas model="https://pictures.example/someone/shapes" seed="7"></diffusion-canvas>
 * ```
 *
 * Attributes: `model` (an address as for `load`), `seed`, `count`, `steps`, `sampler`, `class`, `guidance`; what is not
 * said is as the model offers it. It draws when it comes into view, and the next seed when it is pressed or Enter is
 * hit; for visitors who save data, only then. Those who want reduced motion see the finished picture alone.
 *
 * Events: `progress` (detail: as `load` tells it), `step` (as `sample` tells it), `done` ({ seed, pictures }) and
 * `error` (the error). None bubbles.
 */
import { type Image, load, type Model, type SampleOptions, SamplerError, samplers } from './browser.ts'

const attributes = ['model', 'seed', 'count', 'steps', 'sampler', 'class', 'guidance'] as const

const style = new CSSStyleSheet()
style.replaceSync(`
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
`)

export class DiffusionCanvas extends HTMLElement {
  static readonly observedAttributes = attributes

  readonly #button = document.createElement('button')
  readonly #canvas = document.createElement('canvas')
  readonly #bar = document.createElement('progress')
  readonly #words = document.createElement('p')
  readonly #view = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return
    this.#view.disconnect()
    this.#seen = true
    this.#request()
  })
  #model: { readonly address: string; readonly loaded: Promise<Model> } | null = null
  #drawing: AbortController | null = null
  #seen = false
  #asked = false
  #requested = false

  constructor() {
    super()
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true })
    root.adoptedStyleSheets = [style]
    this.#button.type = 'button'
    this.#button.append(this.#canvas, this.#bar)
    this.#bar.hidden = true
    this.#words.setAttribute('role', 'status')
    root.append(this.#button, this.#words)
    this.#button.addEventListener('click', () => this.#press())
  }

  connectedCallback(): void {
    this.#label()
    this.#view.observe(this)
  }

  disconnectedCallback(): void {
    this.#view.disconnect()
    this.#seen = false
    this.#drawing?.abort()
    this.#dispose()
  }

  attributeChangedCallback(): void {
    this.#label()
    if (this.#seen) this.#request()
  }

  /** Draws the next seed; the first time where it has not drawn yet, the seed it has. */
  #press(): void {
    const waiting = !this.#asked
    this.#asked = this.#seen = true
    if (waiting && this.#drawing === null) this.#request()
    else this.setAttribute('seed', String(this.#seed() + 1))
  }

  /** Several attributes may change at once: it draws when they have. */
  #request(): void {
    if (!this.#asked && savesData()) {
      this.#words.textContent = 'Press to download the model and draw.'
      return
    }
    this.#asked = true
    if (this.#requested) return
    this.#requested = true
    queueMicrotask(() => {
      this.#requested = false
      if (this.isConnected) this.#draw()
    })
  }

  async #draw(): Promise<void> {
    this.#drawing?.abort()
    const drawing = new AbortController()
    this.#drawing = drawing
    const { signal } = drawing
    this.#words.textContent = ''
    this.#bar.removeAttribute('value')
    this.#bar.hidden = false
    try {
      const model = await this.#loaded()
      signal.throwIfAborted()
      const still = matchMedia('(prefers-reduced-motion: reduce)').matches
      const images = await model.sample({
        ...this.#options(),
        previewEvery: still ? 0 : 'auto',
        signal,
        onStep: (step) => {
          this.#bar.value = (step.step + 1) / step.steps
          if (step.x) this.#paint(step.x)
          this.#tell('step', step)
        },
      })
      this.#paint(images.map(({ pixels }) => pixels))
      this.#label()
      this.#tell('done', { seed: this.#seed(), images })
    } catch (error) {
      if (signal.aborted) return
      this.#words.textContent = error instanceof Error ? error.message : String(error)
      this.#tell('error', error)
    } finally {
      if (this.#drawing === drawing) {
        this.#drawing = null
        this.#bar.hidden = true
      }
    }
  }

  /** The model of the address, loaded once for all its drawings. */
  #loaded(): Promise<Model> {
    const address = this.getAttribute('model')
    if (!address) {
      throw new SamplerError('bad-option', 'A diffusion-canvas needs a model="https://host/owner/name".')
    }
    if (this.#model?.address === address) return this.#model.loaded
    this.#dispose()
    const loaded = load(address, {
      onProgress: (progress) => {
        if (progress.stage === 'download') this.#bar.value = progress.loaded / progress.total
        this.#tell('progress', progress)
      },
    })
    const model = { address, loaded }
    this.#model = model
    loaded.catch(() => {
      // The next drawing tries again.
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
      throw new SamplerError('bad-option', `Found ${name}="${text}"; expected a number.`)
    }
    const sampler = this.getAttribute('sampler')
    if (sampler !== null && !(samplers as readonly string[]).includes(sampler)) {
      throw new SamplerError(
        'bad-option',
        `Found sampler="${sampler}"; expected one of: ${samplers.join(', ')}.`,
      )
    }
    const given = {
      seed: number('seed') ?? 0,
      count: number('count'),
      steps: number('steps'),
      guidance: number('guidance'),
      sampler: sampler ?? undefined,
      class: this.getAttribute('class'),
    }
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  }

  #seed(): number {
    return Number(this.getAttribute('seed') ?? 0) || 0
  }

  /** Pictures side by side, as nearly square as may be. */
  #paint(images: readonly Image['pixels'][]): void {
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

  #label(): void {
    const name = this.getAttribute('model')?.split('/').slice(-2).join('/') ?? 'no model'
    const own = this.getAttribute('aria-label')
    const what = own ?? `Drawn by the diffusion model ${name}, seed ${this.#seed()}`
    this.#button.setAttribute('aria-label', `${what}. Press to draw another.`)
  }

  #tell(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }))
  }
}

function savesData(): boolean {
  return (navigator as { connection?: { saveData?: boolean } }).connection?.saveData ?? false
}

if (!customElements.get('diffusion-canvas')) customElements.define('diffusion-canvas', DiffusionCanvas)
