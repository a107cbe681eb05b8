import type { Settings, Start } from '../settings/settings.ts'
import { nearTo } from '../settings/start-panel.ts'
import { byId } from '../ui/dom.ts'
import { enlarged, grid, save, saveFilm } from '../ui/png.ts'
import { createViewer } from '../ui/viewer.ts'
import { captionOf, type Generation } from './generation.ts'
import { frameTime } from './timeline.ts'

export interface Tools {
  /** What they work on; null while there is nothing. */
  show(drawing: Generation | null, picked: number): void
  /** Whether a press on a frame was the answer to "another picture". */
  takes(image: number): boolean
}

interface Handlers {
  /** A drawing of these settings is wanted. */
  readonly onStart: (start: Start) => void
  /** The picture is to be worked on by hand. */
  readonly onPaint: (image: ImageData) => void
  readonly onKeep: (drawing: Generation, image: number) => void
  readonly say: (text: string) => void
  readonly attempt: (action: () => Promise<void>) => Promise<void>
}

/** What can be done with the picture that is picked, and with all of them. */
export function createTools({ onStart, onPaint, onKeep, say, attempt }: Handlers): Tools {
  const view = createViewer()
  const button = (id: string) => byId(id, HTMLButtonElement)
  const [keep, enlarge, vary, blend, paint] = ['keep', 'enlarge', 'vary', 'blend', 'paint-over'].map(
    button,
  ) as [HTMLButtonElement, HTMLButtonElement, HTMLButtonElement, HTMLButtonElement, HTMLButtonElement]
  const [film, saveAll, copyLink] = [button('save-film'), button('save-grid'), button('copy-link')]
  const all = [keep, enlarge, vary, blend, paint, film, saveAll, copyLink]
  let drawing: Generation | null = null
  let picked = 0
  /** The picture from which a way to another is wanted. */
  let waiting: number | null = null

  const on = (element: HTMLButtonElement, action: (drawing: Generation) => unknown) =>
    element.addEventListener('click', () => {
      if (drawing) attempt(async () => void (await action(drawing!)))
    })
  const wait = (from: number | null) => {
    waiting = from
    blend.setAttribute('aria-pressed', String(from !== null))
  }

  on(keep, (current) => onKeep(current, picked))
  on(enlarge, ({ images, settings }) =>
    view(
      images[picked]!,
      `${captionOf(settings)} · no. ${picked + 1}`,
      `${fileName(settings)}-${picked + 1}`,
    ),
  )
  on(vary, () => onStart(nearTo(picked)))
  on(blend, () => {
    wait(waiting === null ? picked : null)
    if (waiting !== null) say(`Press the picture that no. ${picked + 1} should turn into.`)
  })
  on(paint, ({ images }) => onPaint(images[picked]!))
  on(film, async ({ frames, settings }) => {
    say('Saving the film.')
    const own = frames.map(({ x }) => x[picked]!)
    await saveFilm(own, frameTime, `${fileName(settings)}-${picked + 1}-denoising.png`)
    say('The film is saved as a moving PNG.')
  })
  on(saveAll, ({ images, settings }) => save(grid(images), `${fileName(settings)}.png`))
  on(copyLink, async () => {
    try {
      await navigator.clipboard.writeText(location.href)
      say('The link to these pictures is copied.')
    } catch {
      say('This browser forbids copying here; the link is in its address bar.')
    }
  })

  return {
    show(shown, index) {
      drawing = shown
      picked = index
      if (!shown) wait(null)
      const fromNoise = shown?.settings.start.kind === 'noise'
      for (const element of all) element.disabled = !shown
      // Ways and neighbourhoods are told by pictures of a seed.
      vary.disabled = !fromNoise
      blend.disabled = !fromNoise || shown!.images.length < 2
      byId('picked', HTMLElement).textContent = `No. ${index + 1}`
    },
    takes(image) {
      if (waiting === null || !drawing) return false
      const from = waiting
      wait(null)
      if (from === image) return false
      onStart({ kind: 'between', image: from, to: { seed: drawing.settings.seed, image } })
      return true
    },
  }
}

function fileName({ model, seed }: Settings): string {
  return `${model.split('/')[1]}-seed${seed}`
}

/** A picture as small as it is, as a data URL. */
export function thumbnailOf(image: ImageData): string {
  return enlarged(image, 1).toDataURL('image/png')
}
