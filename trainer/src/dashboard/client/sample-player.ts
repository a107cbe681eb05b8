import { byId } from '@ddpm/shared/dom'
import type { Sample } from '../protocol.ts'

const playFace = { icon: 'M2 0l7 5-7 5z', label: 'Play the samples from first to last' }
const pauseFace = { icon: 'M1 0h3v10H1zM6 0h3v10H6z', label: 'Pause the samples' }
const framesPerSecond = 6

/**
 * Creates the timeline of sample grids. While its slider is at the end, it shows each new grid.
 * @returns a function that updates the list of grids
 */
export function createSamplePlayer(sampleEvery: number): (samples: readonly Sample[]) => void {
  const viewer = byId('viewer', HTMLElement)
  const image = byId('sample', HTMLImageElement)
  const position = byId('position', HTMLInputElement)
  const stepLabel = byId('sample-step', HTMLOutputElement)
  const play = byId('play', HTMLButtonElement)
  const icon = byId('play-icon', SVGPathElement)
  const emptyNote = byId('no-samples', HTMLElement)
  /** Preloaded images, so that the slider shows them without a delay. */
  let images: { sample: Sample; element: HTMLImageElement }[] = []
  let playing: ReturnType<typeof setInterval> | null = null

  emptyNote.textContent = `The first samples are generated at step ${sampleEvery}.`
  const showFace = (face: typeof playFace) => {
    icon.setAttribute('d', face.icon)
    play.setAttribute('aria-label', face.label)
  }
  showFace(playFace)

  function show(): void {
    const current = images[Number(position.value)]
    if (!current) return
    image.src = current.element.src
    image.alt = `Samples at step ${current.sample.step}`
    stepLabel.value = `step ${current.sample.step}`
    position.setAttribute('aria-valuetext', stepLabel.value)
  }

  function stop(): void {
    if (playing !== null) clearInterval(playing)
    playing = null
    showFace(playFace)
  }

  position.addEventListener('input', () => {
    stop()
    show()
  })
  play.addEventListener('click', () => {
    if (playing !== null) return stop()
    showFace(pauseFace)
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
    const loaded = new Map(images.map((entry) => [entry.sample.url, entry]))
    images = samples.map((sample) => {
      const entry = loaded.get(sample.url)
      if (entry) return entry
      const element = new Image()
      element.src = sample.url
      return { sample, element }
    })
    viewer.hidden = samples.length === 0
    emptyNote.hidden = samples.length > 0
    position.max = String(Math.max(0, samples.length - 1))
    if (atEnd && playing === null) position.value = position.max
    show()
  }
}
