import type { Manifest, Plan } from 'ddpm-sampler'
import { captionOf } from '../generation/caption.ts'
import type { Frame } from '../generation/frames.ts'
import type { Generation } from '../generation/generate.ts'
import { startImages } from '../generation/start-images.ts'
import type { Settings, Start } from '../settings/settings.ts'
import { createContactSheet } from '../ui/contact-sheet.ts'
import { byId } from '../ui/dom.ts'
import { createCollections } from './collections.ts'
import type { SavedImage } from './saved-images.ts'
import { createTimeline } from './timeline.ts'
import { createTools } from './tools.ts'

export interface Results {
  /** The generation that is shown; null before it is finished. */
  readonly generation: Generation | null
  /** Shows the images before the first step. */
  clear(manifest: Manifest, settings: Settings): void
  /** Shows the noise levels that the sampler will visit. */
  showPlan(plan: Plan, strength: number): void
  /** Shows a frame of a running generation. */
  showFrame(frame: Frame): void
  /** Shows a finished generation and adds it to the history. */
  show(generation: Generation): void
  /** Selects the image that the timeline and the tools refer to. */
  select(index: number): void
}

interface Handlers {
  /** Starts a generation from the selected image. */
  readonly onStart: (start: Start) => void
  /** Opens an image on the drawing board. */
  readonly onEdit: (image: ImageData) => void
  /** Generates an image of the history or the favourites again. */
  readonly onOpen: (item: SavedImage) => void
  /** Shows a status message. */
  readonly announce: (text: string) => void
}

/** Connects everything that shows generated images: contact sheet, timeline, tools, favourites and history. */
export function createResults({ onStart, onEdit, onOpen, announce }: Handlers): Results {
  let generation: Generation | null = null
  let selected = 0

  const contactSheet = createContactSheet(
    (index) => {
      if (!tools.finishInterpolation(index)) select(index)
    },
    (index) => {
      // While the visitor looks for the second image of an interpolation, the first one stays selected.
      if (!tools.isInterpolating) select(index)
    },
  )
  const timeline = createTimeline((frame) => contactSheet.show(frame.x))
  const collections = createCollections(onOpen)
  const tools = createTools({
    onStart,
    onEdit,
    onFavourite(current, index) {
      collections.toggleFavourite(current, index)
      updateFavouriteButton()
    },
    announce,
  })

  const updateFavouriteButton = () => {
    const isFavourite = generation !== null && collections.isFavourite(generation, selected)
    byId('favourite', HTMLButtonElement).setAttribute('aria-pressed', String(isFavourite))
  }
  const select = (index: number) => {
    selected = index
    contactSheet.select(index)
    timeline.select(index)
    tools.update(generation, index)
    updateFavouriteButton()
  }

  return {
    get generation() {
      return generation
    },
    clear(manifest, settings) {
      generation = null
      timeline.clear()
      contactSheet.resize(settings.count, manifest.shape)
      contactSheet.show(startImages(manifest, settings))
      select(Math.min(selected, settings.count - 1))
      byId('caption', HTMLElement).textContent = captionOf(settings)
    },
    showPlan: timeline.showPlan,
    showFrame(frame) {
      contactSheet.show(frame.x)
      timeline.follow(frame)
    },
    show(newGeneration) {
      generation = newGeneration
      contactSheet.show(newGeneration.images)
      timeline.load(newGeneration.frames)
      select(selected)
      collections.addToHistory(newGeneration)
    },
    select,
  }
}
