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
export interface Drawing {
  readonly settings: Settings
  readonly pictures: readonly ImageData[]
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
export async function drawSettings(
  model: Model,
  settings: Settings,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: Progress) => void },
): Promise<Drawing> {
  const { manifest } = model
  const parts = partsOf(manifest, settings)
  const begin = startPictures(manifest, settings)
  const films: Frame[][] = []
  const pictures: ImageData[] = []
  for (const [index, part] of parts.entries()) {
    const film = createFilm()
    const from = pictures.length
    const steps = settings.steps
    film.add({ step: 0, steps, t: null, x: begin.slice(from, from + part.count!), x0: null })
    const onStep = ({ step, steps, t, x, x0, secondsLeft }: SampleStep) => {
      const own: Frame | null = x && { step: step + 1, steps, t, x, x0 }
      if (own) film.add(own)
      // Pictures of earlier parts are done, those of later ones have not begun.
      const rest = begin.slice(from + part.count!)
      const around = (some: readonly ImageData[]) => [...pictures, ...some, ...rest]
      onProgress({
        step: index * steps + step + 1,
        steps: steps * parts.length,
        secondsLeft: parts.length === 1 ? secondsLeft : null,
        frame: own && { ...own, x: around(own.x), x0: x0 && around(x0) },
      })
    }
    const drawn = await model.sample({ ...part, previewEvery: previewEvery(settings), onStep, signal })
    pictures.push(...drawn.map(({ pixels }) => pixels))
    films.push([...film.frames])
  }
  return { settings, pictures, frames: films.length === 1 ? films[0]! : spliced(films) }
}

/** Often enough for a timeline; not so often that a fast device waits for pictures that nobody can see. */
function previewEvery({ steps }: Settings): number {
  return Math.max(1, Math.round(steps / framesWanted))
}

/** The latest start pictures: the page asks again and again for the same. */
let started: { readonly key: string; readonly pictures: readonly ImageData[] } | null = null

/** Each picture before the first step: its noise, or the picture that it starts from. */
export function startPictures(manifest: Manifest, settings: Settings): readonly ImageData[] {
  const { start, count } = settings
  if (start.kind === 'picture') return Array.from({ length: count }, () => start.picture)
  const key = keyOf(manifest, settings)
  if (started?.key !== key) {
    const pictures = Array.from({ length: count }, (_, i) => startPicture(manifest, settings, i))
    started = { key, pictures }
  }
  return started.pictures
}

/** Makes them one by one, so that the page is never kept busy for long. */
export async function prepareStart(manifest: Manifest, settings: Settings): Promise<void> {
  if (settings.start.kind === 'picture') return
  const pictures: ImageData[] = []
  for (let i = 0; i < settings.count; i++) {
    pictures.push(startPicture(manifest, settings, i))
    await new Promise((resolve) => setTimeout(resolve))
  }
  started = { key: keyOf(manifest, settings), pictures }
}

function keyOf({ name, shape }: Manifest, { seed, count, start }: Settings): string {
  return JSON.stringify([name, shape, seed, count, start])
}

function startPicture(manifest: Manifest, settings: Settings, index: number): ImageData {
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
      return [{ ...base, class: classAt(manifest, settings, seed, start.picture), noise }]
    }
    case 'between': {
      const ends = [
        classAt(manifest, settings, seed, start.picture),
        classAt(manifest, settings, start.to.seed, start.to.picture),
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
    case 'picture': {
      const { picture, strength, mask } = start
      // One class at random would draw against a picture that shows another.
      const pull = settings.class === null ? 0 : guidance
      return [{ ...base, guidance: pull, init: picture, strength, ...(mask && { mask }) }]
    }
  }
}

/** The class that a picture of a seed has; null where the model knows none. */
function classAt(manifest: Manifest, settings: Settings, seed: number, picture: number): string | null {
  return classOf(manifest, { seed, picture, name: settings.class })
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
      const own = startNoise(manifest, seed, start.picture)
      // The first is the picture itself, to compare with.
      return index === 0 ? own : slerp(own, startNoise(manifest, start.other, index), start.distance)
    }
    case 'between': {
      const ends = [
        startNoise(manifest, seed, start.picture),
        startNoise(manifest, start.to.seed, start.to.picture),
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
    near: start.kind === 'near' ? [`near no. ${start.picture + 1}`, `distance ${start.distance}`] : [],
    between:
      start.kind === 'between'
        ? [
            `no. ${start.picture + 1} to no. ${start.to.picture + 1}${start.to.seed === seed ? '' : ` of seed ${start.to.seed}`}`,
          ]
        : [],
    picture:
      start.kind === 'picture'
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
