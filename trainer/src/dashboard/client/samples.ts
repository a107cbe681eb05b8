import { byId } from '@ddpm/shared/dom'
import type { Sample } from '../protocol.ts'

const triangle = 'M2 0l7 5-7 5z'
const bars = 'M1 0h3v10H1zM6 0h3v10H6z'
const framesPerSecond = 6

/** The sample grids as a timeline: a slider that stays at the newest one until it is moved. */
export function createSamples(sampleEvery: number): (samples: readonly Sample[]) => void {
  const viewer = byId('viewer', HTMLElement)
  const image = byId('sample', HTMLImageElement)
  const position = byId('position', HTMLInputElement)
  const step = byId('sample-step', HTMLOutputElement)
  const play = byId('play', HTMLButtonElement)
  const shape = byId('play-shape', SVGPathElement)
  const none = byId('no-samples', HTMLElement)
  /** Held, so that the browser has them decoded when the slider comes by. */
  let images: { sample: Sample; element: HTMLImageElement }[] = []
  let playing: ReturnType<typeof setInterval> | null = null

  none.textContent = `The first pictures come at step ${sampleEvery}.`
  shape.setAttribute('d', triangle)

  function show(): void {
    const shown = images[Number(position.value)]
    if (!shown) return
    image.src = shown.element.src
    image.alt = `Pictures drawn at step ${shown.sample.step}`
    step.value = `step ${shown.sample.step}`
    position.setAttribute('aria-valuetext', step.value)
  }

  function stop(): void {
    if (playing !== null) clearInterval(playing)
    playing = null
    shape.setAttribute('d', triangle)
  }

  position.addEventListener('input', () => {
    stop()
    show()
  })
  play.addEventListener('click', () => {
    if (playing !== null) return stop()
    shape.setAttribute('d', bars)
    if (position.value === position.max) position.value = '0'
    show()
    playing = setInterval(() => {
      position.value = String(Number(position.value) + 1)
      show()
      if (position.value === position.max) stop()
    }, 1000 / framesPerSecond)
  })

  return (samples) => {
    const atEnd = images.length === 0 || position.value === position.max
    const held = new Map(images.map((entry) => [entry.sample.url, entry]))
    images = samples.map((sample) => {
      const known = held.get(sample.url)
      if (known) return known
      const element = new Image()
      element.src = sample.url
      return { sample, element }
    })
    viewer.hidden = samples.length === 0
    none.hidden = samples.length > 0
    position.max = String(Math.max(0, samples.length - 1))
    if (atEnd && playing === null) position.value = position.max
    show()
  }
}
