import type { Manifest } from 'ddpm-sampler'
import { createDrawingBoard } from '../canvas/drawing-board.ts'
import { byId } from '../ui/dom.ts'
import { defaultDistance, type Start } from './settings.ts'

export interface StartPanel {
  /** Brings everything to a model's size. */
  resize(manifest: Manifest): void
  /** The paper to paint on is that of the model's own pictures. */
  paper(images: readonly ImageData[]): void
  fill(start: Start, seed: number): void
  read(seed: number): Start
  readonly kind: Start['kind']
}

const notes: Record<Start['kind'], string> = {
  noise: 'Each picture starts as noise of its own, which the seed decides.',
  image: 'Your picture is drowned in noise up to the strength, and drawn out of it again (SDEdit).',
  near: 'The first picture again, then others out of noise close to its own.',
  between: 'From one picture to another, along the arc between their noises.',
}

/** Where a drawing starts: noise, a picture of one's own, near a picture or between two. Inputs count from 1. */
export function createStartPanel(onChange: () => void): StartPanel {
  const kinds = Array.from(document.querySelectorAll<HTMLInputElement>('input[name="start"]'))
  const field = (id: string) => byId(id, HTMLInputElement)
  const [strength, distance] = [field('strength'), field('distance')]
  const [nearImage, other] = [field('near-image'), field('other')]
  const [fromImage, toImage, toSeed] = [field('from-image'), field('to-image'), field('to-seed')]
  const masking = field('masking')
  const easel = createDrawingBoard(onChange, { masking, halves: byId('halves', HTMLSelectElement) })

  const kind = () => kinds.find(({ checked }) => checked)!.value as Start['kind']
  const update = () => {
    const chosen = kind()
    for (const { value } of kinds) {
      if (value !== 'noise') byId(`start-${value}`, HTMLElement).hidden = value !== chosen
    }
    byId('start-note', HTMLElement).textContent =
      chosen === 'image' && masking.checked
        ? 'What you cover is drawn anew and fits what stays (RePaint).'
        : notes[chosen]
    byId('mask-tools', HTMLElement).hidden = !masking.checked
    byId('brush-colours', HTMLElement).hidden = masking.checked
    byId('strength-text', HTMLOutputElement).value = percent(strength.valueAsNumber)
    byId('distance-text', HTMLOutputElement).value = percent(distance.valueAsNumber)
    // What is not shown must not stop the form.
    for (const { value } of kinds) {
      if (value === 'noise') continue
      byId(`start-${value}`, HTMLFieldSetElement).disabled = value !== chosen
    }
  }
  byId('start', HTMLFieldSetElement).addEventListener('input', () => {
    update()
    onChange()
  })
  masking.addEventListener('change', () => {
    // What is filled in should be new altogether; an own picture should still be recognised.
    strength.value = masking.checked ? '1' : '0.6'
    update()
  })
  byId('other-dice', HTMLButtonElement).addEventListener('click', () => {
    other.value = String(Math.floor(Math.random() * 1e6))
    onChange()
  })

  return {
    resize: ({ shape }) => easel.resize(shape),
    paper: easel.paper,
    fill(start, seed) {
      for (const input of kinds) input.checked = input.value === start.kind
      if (start.kind === 'near') {
        nearImage.value = String(start.image + 1)
        distance.value = String(start.distance)
        other.value = String(start.other)
      } else if (start.kind === 'between') {
        fromImage.value = String(start.image + 1)
        toImage.value = String(start.to.image + 1)
        toSeed.value = start.to.seed === seed ? '' : String(start.to.seed)
      } else if (start.kind === 'image') {
        easel.load(start.image, start.mask)
        strength.value = String(start.strength)
      }
      update()
    },
    read(seed) {
      switch (kind()) {
        case 'noise':
          return { kind: 'noise' }
        case 'near':
          return {
            kind: 'near',
            image: nearImage.valueAsNumber - 1,
            distance: distance.valueAsNumber,
            other: Number(other.value),
          }
        case 'between': {
          const to = {
            seed: toSeed.value === '' ? seed : Number(toSeed.value),
            image: toImage.valueAsNumber - 1,
          }
          return { kind: 'between', image: fromImage.valueAsNumber - 1, to }
        }
        case 'image':
          return {
            kind: 'image',
            strength: strength.valueAsNumber,
            image: easel.image(),
            mask: easel.mask(),
          }
      }
    },
    get kind() {
      return kind()
    },
  }
}

function percent(value: number): string {
  return `${Math.round(value * 100)} %`
}

/** Pictures near one of a seed, out of a second seed's noise. */
export function nearTo(image: number): Start {
  return { kind: 'near', image, distance: defaultDistance, other: Math.floor(Math.random() * 1e6) }
}
