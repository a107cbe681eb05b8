import { byId } from '@ddpm/shared/dom'
import type { Sample } from '../protocol.ts'

const triangle = 'M2 0l7 5-7 5z'
const bars = 'M1 0h3v10H1zM6 0h3v10H6z'
const framesPerSecond = 6

/** The sample grids as a timeline: a slider that stays at the newest one until it is moved. */
export function createSamples(sampleEvery: number): (samples: readonly Sample[]) => void {
  const viewer = byId('viewer', HTMLElement)
  const picture = byId('sample', HTMLImageElement)
  const position = byId('position', HTMLInputElement)
  const step = byId('sample-step', HTMLOutputElement)
  const play = byId('play', HTMLButtonElement)
  const shape = byId('play-shape', SVGPathElement)
  const none = byId('no-samples', HTMLElement)
  /** Held, so that the browser has them decoded when the slider comes by. */
  let pictures: { sample: Sample; image: HTMLImageElement }[] = []
  let playing: ReturnType<typeof setInterval> | null = null

  none.textContent = `The first pictures come at step ${sampleEvery}.`
  shape.setAttribute('d', triangle)

  function show(): void {
    const shown = pictures[Number(position.value)]
    if (!shown) return
    picture.src = shown.image.src
    picture.alt = `Pictures drawn at step ${shown.sample.step}`
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
    const atEnd = pictures.length === 0 || position.value === position.max
    const held = new Map(pictures.map((entry) => [entry.sample.url, entry]))
    pictures = samples.map((sample) => {
      const known = held.get(sample.url)
      if (known) return known
      const image = new Image()
      image.src = sample.url
      return { sample, image }
    })
    viewer.hidden = samples.length === 0
    none.hidden = samples.length > 0
    position.max = String(Math.max(0, samples.length - 1))
    if (atEnd && playing === null) position.value = position.max
    show()
  }
}
