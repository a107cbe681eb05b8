import { captionOf, fileNameOf } from '../generation/caption.ts'
import type { Generation } from '../generation/generate.ts'
import type { Start } from '../settings/settings.ts'
import { variationOf } from '../settings/start-panel.ts'
import { byId } from '../ui/dom.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { downloadAnimation, downloadPng, renderGrid } from '../ui/png.ts'
import { createViewer } from '../ui/viewer.ts'
import { frameDuration } from './timeline.ts'

export interface Tools {
  /**
   * Shows which tools are available.
   * @param generation null while there is none
   */
  update(generation: Generation | null, selected: number): void
  /** Whether the visitor is choosing the second image of an interpolation. */
  readonly isInterpolating: boolean
  /** Completes an interpolation if the visitor is choosing its second image. Returns whether a generation starts. */
  finishInterpolation(image: number): boolean
}

interface Handlers {
  /** Starts a generation from other start noise. */
  readonly onStart: (start: Start) => void
  /** Opens an image on the drawing board. */
  readonly onEdit: (image: ImageData) => void
  readonly onFavourite: (generation: Generation, image: number) => void
  /** Shows a status message. */
  readonly announce: (text: string) => void
}

/** Connects the buttons for the selected image and for all images. */
export function createTools({ onStart, onEdit, onFavourite, announce }: Handlers): Tools {
  const openViewer = createViewer()
  let generation: Generation | null = null
  let selected = 0
  /** The first image of an interpolation whose second image is still to be chosen. */
  let interpolationStart: number | null = null

  const buttons: HTMLButtonElement[] = []
  const connect = (id: string, action: (generation: Generation) => unknown) => {
    const button = byId(id, HTMLButtonElement)
    buttons.push(button)
    button.addEventListener('click', () => {
      if (generation) reportErrors(async () => void (await action(generation!)))
    })
    return button
  }
  const baseName = (current: Generation) => `${fileNameOf(current.settings)}-${selected + 1}`

  connect('favourite', (current) => onFavourite(current, selected))
  connect('enlarge', (current) => {
    const title = `${captionOf(current.settings)} · image ${selected + 1}`
    openViewer(current.images[selected]!, title, baseName(current))
  })
  const variations = connect('variations', () => onStart(variationOf(selected)))
  const interpolate = connect('interpolate', () => {
    setInterpolationStart(interpolationStart === null ? selected : null)
    if (interpolationStart !== null)
      announce(`Select the image that image ${selected + 1} should change into.`)
  })
  connect('edit', ({ images }) => onEdit(images[selected]!))
  connect('download-animation', async (current) => {
    announce('Creating the animation.')
    const frames = current.frames.map(({ x }) => x[selected]!)
    await downloadAnimation(frames, frameDuration, `${baseName(current)}-denoising.png`)
    announce('The animation is downloaded as an animated PNG.')
  })
  connect('download-all', ({ images, settings }) =>
    downloadPng(renderGrid(images), `${fileNameOf(settings)}.png`),
  )
  connect('copy-link', async () => {
    try {
      await navigator.clipboard.writeText(location.href)
      announce('Link copied.')
    } catch {
      announce('This browser does not allow copying. Copy the link from the address bar.')
    }
  })
  const setInterpolationStart = (image: number | null) => {
    interpolationStart = image
    interpolate.setAttribute('aria-pressed', String(image !== null))
  }

  return {
    get isInterpolating() {
      return interpolationStart !== null
    },
    update(newGeneration, index) {
      generation = newGeneration
      selected = index
      if (!newGeneration) setInterpolationStart(null)
      for (const button of buttons) button.disabled = !newGeneration
      // Variations and interpolations refer to images by seed and number, which requires a start from noise.
      const startsFromNoise = newGeneration?.settings.start.kind === 'noise'
      variations.disabled = !startsFromNoise
      interpolate.disabled = !startsFromNoise || newGeneration!.images.length < 2
      byId('selected', HTMLElement).textContent = `Image ${index + 1}`
    },
    finishInterpolation(image) {
      if (interpolationStart === null || !generation) return false
      const from = interpolationStart
      setInterpolationStart(null)
      if (from === image) return false
      const { seed } = generation.settings
      onStart({ kind: 'interpolation', image: from, to: { seed, image } })
      return true
    },
  }
}
