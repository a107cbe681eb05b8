import {
  classOf,
  type Manifest,
  type Model,
  type SampleOptions,
  type SampleStep,
  slerp,
  startNoise,
} from 'ddpm-sampler'
import { planningOf, type Settings } from '../settings/settings.ts'
import { pixelsOf } from '../ui/pixels.ts'
import { createFilm, type Frame, spliced } from './frames.ts'

/** What was asked for, what came out, and how it came to be. */
export interface Generation {
  readonly settings: Settings
  readonly images: readonly ImageData[]
  readonly frames: readonly Frame[]
}

/** About as many frames a drawing is kept in. */
const framesWanted = 60

export interface Progress {
  /** Of all parts together. */
  readonly step: number
  readonly steps: number
  readonly secondsLeft: number | null
  /** All pictures, where there is something new to see. */
  readonly frame: Frame | null
}

/** Draws what the settings say. */
export async function generateImages(
  model: Model,
  settings: Settings,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: Progress) => void },
): Promise<Generation> {
  const { manifest } = model
  const parts = partsOf(manifest, settings)
  const begin = startImages(manifest, settings)
  const films: Frame[][] = []
  const images: ImageData[] = []
  for (const [index, part] of parts.entries()) {
    const film = createFilm()
    const from = images.length
    const steps = settings.steps
    film.add({ step: 0, steps, t: null, x: begin.slice(from, from + part.count!), x0: null })
    const onStep = ({ step, steps, t, x, x0, secondsLeft }: SampleStep) => {
      const own: Frame | null = x && { step: step + 1, steps, t, x, x0 }
      if (own) film.add(own)
      // Pictures of earlier parts are done, those of later ones have not begun.
      const rest = begin.slice(from + part.count!)
      const around = (some: readonly ImageData[]) => [...images, ...some, ...rest]
      onProgress({
        step: index * steps + step + 1,
        steps: steps * parts.length,
        secondsLeft: parts.length === 1 ? secondsLeft : null,
        frame: own && { ...own, x: around(own.x), x0: x0 && around(x0) },
      })
    }
    const drawn = await model.sample({ ...part, previewEvery: previewEvery(settings), onStep, signal })
    images.push(...drawn.map(({ pixels }) => pixels))
    films.push([...film.frames])
  }
  return { settings, images, frames: films.length === 1 ? films[0]! : spliced(films) }
}

/** Often enough for a timeline; not so often that a fast device waits for pictures that nobody can see. */
function previewEvery({ steps }: Settings): number {
  return Math.max(1, Math.round(steps / framesWanted))
}

/** The latest start pictures: the page asks again and again for the same. */
let started: { readonly key: string; readonly images: readonly ImageData[] } | null = null

/** Each picture before the first step: its noise, or the picture that it starts from. */
export function startImages(manifest: Manifest, settings: Settings): readonly ImageData[] {
  const { start, count } = settings
  if (start.kind === 'image') return Array.from({ length: count }, () => start.image)
  const key = keyOf(manifest, settings)
  if (started?.key !== key) {
    const images = Array.from({ length: count }, (_, i) => startImage(manifest, settings, i))
    started = { key, images }
  }
  return started.images
}

/** Makes them one by one, so that the page is never kept busy for long. */
export async function prepareStart(manifest: Manifest, settings: Settings): Promise<void> {
  if (settings.start.kind === 'image') return
  const images: ImageData[] = []
  for (let i = 0; i < settings.count; i++) {
    images.push(startImage(manifest, settings, i))
    await new Promise((resolve) => setTimeout(resolve))
  }
  started = { key: keyOf(manifest, settings), images }
}

function keyOf({ name, shape }: Manifest, { seed, count, start }: Settings): string {
  return JSON.stringify([name, shape, seed, count, start])
}

function startImage(manifest: Manifest, settings: Settings, index: number): ImageData {
  return pixelsOf(noiseOf(manifest, settings, index), manifest.shape)
}

/**
 * The options of `model.sample` that draw what the settings say: one set, or two where the ends of a way between two
 * pictures are of different classes, for there is nothing between classes.
 */
export function partsOf(manifest: Manifest, settings: Settings): SampleOptions[] {
  const { seed, count, guidance, guidanceRescale, start } = settings
  const base = { seed, count, class: settings.class, guidance, guidanceRescale, ...planningOf(settings) }
  switch (start.kind) {
    case 'noise':
      return [base]
    case 'near': {
      const noise = noises(manifest, settings, 0, count)
      return [{ ...base, class: classAt(manifest, settings, seed, start.image), noise }]
    }
    case 'between': {
      const ends = [
        classAt(manifest, settings, seed, start.image),
        classAt(manifest, settings, start.to.seed, start.to.image),
      ]
      const half = ends[0] === ends[1] || count === 1 ? count : Math.ceil(count / 2)
      const lengths = half === count ? [count] : [half, count - half]
      return lengths.map((length, i) => ({
        ...base,
        first: i * half,
        count: length,
        class: ends[i]!,
        noise: noises(manifest, settings, i * half, length),
      }))
    }
    case 'image': {
      const { image, strength, mask } = start
      // One class at random would draw against a picture that shows another.
      const pull = settings.class === null ? 0 : guidance
      return [{ ...base, guidance: pull, init: image, strength, ...(mask && { mask }) }]
    }
  }
}

/** The class that a picture of a seed has; null where the model knows none. */
function classAt(manifest: Manifest, settings: Settings, seed: number, image: number): string | null {
  return classOf(manifest, { seed, image, name: settings.class })
}

function noises(manifest: Manifest, settings: Settings, first: number, count: number): Float32Array {
  const { channels, height, width } = manifest.shape
  const size = channels * height * width
  const all = new Float32Array(count * size)
  for (let i = 0; i < count; i++) all.set(noiseOf(manifest, settings, first + i), i * size)
  return all
}

/** What picture `index` of a drawing starts from. */
function noiseOf(manifest: Manifest, { seed, count, start }: Settings, index: number): Float32Array {
  switch (start.kind) {
    case 'near': {
      const own = startNoise(manifest, seed, start.image)
      // The first is the picture itself, to compare with.
      return index === 0 ? own : slerp(own, startNoise(manifest, start.other, index), start.distance)
    }
    case 'between': {
      const ends = [
        startNoise(manifest, seed, start.image),
        startNoise(manifest, start.to.seed, start.to.image),
      ]
      return slerp(ends[0]!, ends[1]!, count === 1 ? 0 : index / (count - 1))
    }
    default:
      return startNoise(manifest, seed, index)
  }
}

/** What the settings ask for, in a line. */
export function captionOf(settings: Settings): string {
  const { model, guidance, seed, sampler, steps, start } = settings
  const said = {
    noise: [],
    near: start.kind === 'near' ? [`near no. ${start.image + 1}`, `distance ${start.distance}`] : [],
    between:
      start.kind === 'between'
        ? [
            `no. ${start.image + 1} to no. ${start.to.image + 1}${start.to.seed === seed ? '' : ` of seed ${start.to.seed}`}`,
          ]
        : [],
    image:
      start.kind === 'image'
        ? [`from a picture, strength ${start.strength}`, ...(start.mask ? ['filled in'] : [])]
        : [],
  }[start.kind]
  return [
    model,
    ...(settings.class === null ? [] : [settings.class]),
    ...(guidance === 1 ? [] : [`guidance ${guidance}`]),
    `seed ${seed}`,
    ...said,
    `${sampler} ${steps}`,
  ].join(' · ')
}
