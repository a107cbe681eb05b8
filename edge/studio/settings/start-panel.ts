import type { Manifest } from 'ddpm-sampler'
import { createDrawingBoard } from '../canvas/drawing-board.ts'
import { byId } from '../ui/dom.ts'
import { formatPercent } from '../ui/format.ts'
import { randomSeed } from '../ui/random-seed.ts'
import { defaultDistance, isBlank, type Start } from './settings.ts'

export interface StartPanel {
  readonly kind: Start['kind']
  /** Adapts the drawing board to a model's image size. */
  resize(manifest: Manifest): void
  /** Adapts the drawing board's background to the model's samples. */
  setBackground(samples: readonly ImageData[]): void
  fill(start: Start, seed: number): void
  /** @param seed the seed of the form, used if the seed of the second image is empty */
  read(seed: number): Start
  /**
   * Takes a new second seed for variations. Returns whether the panel determines the images instead of the seed: the
   * seed of variations and interpolations names existing images.
   */
  renew(): boolean
}

const notes: Record<Start['kind'], string> = {
  noise: 'Each image starts as random noise, which the seed determines.',
  image: 'Noise is added to your image up to the strength, and then removed again (SDEdit).',
  variation: 'The first image repeats the chosen image of the seed. The others start from similar noise.',
  interpolation: 'Blends one image into another, step by step, along the arc between their noises.',
}
const inpaintNote = 'Only the area you mark changes. The new content fits the rest of the image (RePaint).'
const unmarkedNote =
  'Nothing is marked yet: paint over the area that should change, or choose one below the board.'

/** Connects the panel that selects what generation starts from. Its image numbers count from 1. */
export function createStartPanel(onChange: () => void): StartPanel {
  const radios = Array.from(document.querySelectorAll<HTMLInputElement>('input[name="start"]'))
  const input = (id: string) => byId(id, HTMLInputElement)
  const [strength, distance] = [input('strength'), input('distance')]
  const [variationImage, secondSeed] = [input('variation-image'), input('second-seed')]
  const [fromImage, toImage, toSeed] = [input('from-image'), input('to-image'), input('to-seed')]
  const inpaint = input('inpaint')
  const region = byId('mask-region', HTMLSelectElement)
  const handleStroke = () => {
    update()
    onChange()
  }
  const drawingBoard = createDrawingBoard(handleStroke, { inpaint, region })

  const selectedKind = () => radios.find(({ checked }) => checked)!.value as Start['kind']
  const update = () => {
    const selected = selectedKind()
    for (const { value } of radios) {
      if (value === 'noise') continue
      const panel = byId(`start-${value}`, HTMLFieldSetElement)
      panel.hidden = value !== selected
      // Hidden fields must not make the form invalid.
      panel.disabled = value !== selected
    }
    const isInpainting = inpaint.checked
    const mask = selected === 'image' ? drawingBoard.mask() : null
    const maskNote = mask && (isBlank(mask) ? unmarkedNote : inpaintNote)
    byId('start-note', HTMLElement).textContent = maskNote ?? notes[selected]
    byId('mask-tools', HTMLElement).hidden = !isInpainting
    byId('brush-colours', HTMLElement).hidden = isInpainting
    byId('strength-text', HTMLOutputElement).value = formatPercent(strength.valueAsNumber)
    byId('distance-text', HTMLOutputElement).value = formatPercent(distance.valueAsNumber)
  }
  byId('start', HTMLFieldSetElement).addEventListener('input', () => {
    update()
    onChange()
  })
  inpaint.addEventListener('change', () => {
    // An inpainted area should be entirely new. Without a mask, the visitor's image should stay recognisable.
    strength.value = inpaint.checked ? '1' : '0.6'
    update()
  })

  return {
    get kind() {
      return selectedKind()
    },
    resize: ({ shape }) => drawingBoard.resize(shape),
    setBackground: drawingBoard.setBackground,
    fill(start, seed) {
      for (const radio of radios) radio.checked = radio.value === start.kind
      if (start.kind === 'variation') {
        variationImage.value = String(start.image + 1)
        distance.value = String(start.distance)
        secondSeed.value = String(start.secondSeed)
      } else if (start.kind === 'interpolation') {
        fromImage.value = String(start.image + 1)
        toImage.value = String(start.to.image + 1)
        toSeed.value = start.to.seed === seed ? '' : String(start.to.seed)
      } else if (start.kind === 'image') {
        drawingBoard.load(start.image, start.mask)
        strength.value = String(start.strength)
      }
      update()
    },
    renew() {
      const kind = selectedKind()
      if (kind === 'variation') secondSeed.value = String(randomSeed())
      return kind === 'variation' || kind === 'interpolation'
    },
    read(seed) {
      switch (selectedKind()) {
        case 'noise':
          return { kind: 'noise' }
        case 'variation':
          return {
            kind: 'variation',
            image: variationImage.valueAsNumber - 1,
            distance: distance.valueAsNumber,
            secondSeed: Number(secondSeed.value),
          }
        case 'interpolation': {
          const to = {
            seed: toSeed.value === '' ? seed : Number(toSeed.value),
            image: toImage.valueAsNumber - 1,
          }
          return { kind: 'interpolation', image: fromImage.valueAsNumber - 1, to }
        }
        case 'image':
          return {
            kind: 'image',
            strength: strength.valueAsNumber,
            image: drawingBoard.image(),
            mask: drawingBoard.mask(),
          }
      }
    },
  }
}

/** Returns the start for variations of an image, with a random second seed. */
export function variationOf(image: number): Start {
  return { kind: 'variation', image, distance: defaultDistance, secondSeed: randomSeed() }
}
