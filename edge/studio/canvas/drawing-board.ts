import { byId, make } from '../ui/dom.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { fitted, readImage } from '../ui/pixels.ts'
import { paperOf } from './background.ts'
import { type Point, takeFiles, takeStrokes } from './strokes.ts'

interface Shape {
  readonly channels: number
  readonly height: number
  readonly width: number
}

export interface DrawingBoard {
  /** A blank sheet for a model's pictures; what lies there is brought to its size. */
  resize(shape: Shape): void
  /** Paper like that of a model's own pictures: a digit in white on black is not looked for in black on white. */
  paper(images: readonly ImageData[]): void
  load(image: ImageData, mask: ImageData | null): void
  /** What lies there, at the model's size; to be drawn from as it is shown. */
  image(): ImageData
  /** White where something was painted over; null where nothing is to be kept. */
  mask(): ImageData | null
}

/** Finer than the model's pixels, so that a brush leaves soft edges. */
const fineness = 256
const undoable = 20
const white = '#ffffff'

/** What says whether strokes go to the mask, and what is covered at once. */
export interface MaskControls {
  readonly masking: HTMLInputElement
  readonly halves: HTMLSelectElement
}

/** A sheet to draw on, or to lay a photo on; with mask controls a second one above it says what is to be drawn anew. */
export function createDrawingBoard(onChange: () => void, controls: MaskControls | null = null): DrawingBoard {
  const board = byId('board', HTMLDivElement)
  const [sheet, cover] = [byId('board-image', HTMLCanvasElement), byId('board-mask', HTMLCanvasElement)]
  const [paper, film] = [sheet, cover].map(
    (canvas) => canvas.getContext('2d', { willReadFrequently: true })!,
  ) as [CanvasRenderingContext2D, CanvasRenderingContext2D]
  const brush = byId('brush', HTMLInputElement)
  const colour = byId('colour', HTMLInputElement)
  const masking = () => controls?.masking.checked ?? false
  const undoButton = byId('undo', HTMLButtonElement)
  const fileInput = byId('file', HTMLInputElement)
  let shape: Shape = { channels: 3, height: 32, width: 32 }
  /** The picture at the model's size as it was given, until something is painted. */
  let exact: ImageData | null = null
  let paperColour = white
  /** The colour to begin with, until one is chosen. */
  const firstColour = colour.value
  let isChosen = false
  const undos: { image: ImageData; mask: ImageData; exact: ImageData | null }[] = []

  const whole = (context: CanvasRenderingContext2D) => context.getImageData(0, 0, sheet.width, sheet.height)
  const remember = () => {
    undos.push({ image: whole(paper), mask: whole(film), exact })
    if (undos.length > undoable) undos.shift()
    undoButton.disabled = false
  }
  const blank = () => {
    exact = null
    paper.fillStyle = paperColour
    paper.fillRect(0, 0, sheet.width, sheet.height)
    film.clearRect(0, 0, cover.width, cover.height)
  }
  const lay = (image: ImageData) => {
    exact = image
    paper.imageSmoothingEnabled = false
    paper.drawImage(canvasOf(image), 0, 0, sheet.width, sheet.height)
    paper.imageSmoothingEnabled = true
  }
  const scaledDown = () => {
    const { channels, ...size } = shape
    return fitted(sheet, { ...size, channels })
  }
  /** A stroke from one place to another, both in the sheet's own pixels. */
  const stroke = (from: Point, to: Point) => {
    const context = masking() ? film : paper
    if (!masking()) exact = null
    context.strokeStyle = masking() ? '#f2a33a' : colour.value
    context.lineWidth = (brush.valueAsNumber / 100) * sheet.width
    context.lineCap = 'round'
    context.beginPath()
    context.moveTo(from.x, from.y)
    context.lineTo(to.x, to.y)
    context.stroke()
    onChange()
  }
  takeStrokes(board, sheet, {
    begin: remember,
    stroke,
    step: () => (brush.valueAsNumber / 200) * sheet.width,
  })

  const take = (file: File) =>
    reportErrors(async () => {
      const bitmap = await readImage(file)
      remember()
      lay(fitted(bitmap, shape))
      onChange()
    })
  fileInput.addEventListener('change', () => {
    const [file] = fileInput.files ?? []
    if (file) take(file)
    fileInput.value = ''
  })
  takeFiles(board, take)

  undoButton.addEventListener('click', () => {
    const last = undos.pop()
    undoButton.disabled = undos.length === 0
    if (!last) return
    paper.putImageData(last.image, 0, 0)
    film.putImageData(last.mask, 0, 0)
    exact = last.exact
    onChange()
  })
  byId('clear', HTMLButtonElement).addEventListener('click', () => {
    remember()
    if (masking()) film.clearRect(0, 0, cover.width, cover.height)
    else blank()
    onChange()
  })
  const swatches = byId('swatches', HTMLFieldSetElement)
  swatches.append(
    ...inks.map(([name, value]) => {
      const swatch = make('button', { type: 'button', class: 'swatch', 'aria-label': name, title: name })
      swatch.style.backgroundColor = value
      swatch.addEventListener('click', () => {
        colour.value = value
        isChosen = true
      })
      return swatch
    }),
  )
  colour.addEventListener('input', () => {
    isChosen = true
  })
  controls?.halves.addEventListener('change', () => {
    const { halves } = controls
    remember()
    const [x, y, w, h] = parts[halves.value] ?? [0, 0, 0, 0]
    film.clearRect(0, 0, cover.width, cover.height)
    film.fillStyle = '#f2a33a'
    film.fillRect(x * cover.width, y * cover.height, w * cover.width, h * cover.height)
    halves.value = ''
    onChange()
  })

  return {
    resize(wanted) {
      const before = exact ?? (sheet.width > 0 && undos.length > 0 ? scaledDown() : null)
      shape = wanted
      paperColour = white
      if (!isChosen) colour.value = firstColour
      const scale = Math.max(1, Math.round(fineness / Math.max(shape.width, shape.height)))
      for (const canvas of [sheet, cover]) {
        canvas.width = shape.width * scale
        canvas.height = shape.height * scale
      }
      board.style.aspectRatio = `${shape.width} / ${shape.height}`
      undos.length = 0
      undoButton.disabled = true
      blank()
      if (before) lay(fitted(canvasOf(before), shape))
    },
    paper(images) {
      const { colour: found, isDark } = paperOf(images)
      paperColour = found
      // What lies there already keeps its paper, and the colour that shows on it.
      if (undos.length > 0 || exact) return
      blank()
      if (!isChosen) colour.value = isDark ? white : firstColour
    },
    load(image, mask) {
      remember()
      film.clearRect(0, 0, cover.width, cover.height)
      lay(
        image.width === shape.width && image.height === shape.height ? image : fitted(canvasOf(image), shape),
      )
      if (mask) film.drawImage(tinted(mask), 0, 0, cover.width, cover.height)
      if (controls) controls.masking.checked = mask !== null
      onChange()
    },
    image: () => exact ?? scaledDown(),
    mask() {
      if (!masking()) return null
      const small = make('canvas', { width: String(shape.width), height: String(shape.height) })
      const context = small.getContext('2d')!
      context.drawImage(cover, 0, 0, shape.width, shape.height)
      const mask = context.getImageData(0, 0, shape.width, shape.height)
      for (let i = 0; i < mask.data.length; i += 4) {
        mask.data.fill(mask.data[i + 3]! > 127 ? 255 : 0, i, i + 3)
        mask.data[i + 3] = 255
      }
      return mask
    },
  }
}

const inks = [
  ['Black', '#17191a'],
  ['White', white],
  ['Red', '#e12f2f'],
  ['Orange', '#f08a1d'],
  ['Yellow', '#f0c419'],
  ['Green', '#2a9d4a'],
  ['Blue', '#2f6fd0'],
  ['Violet', '#7a35ab'],
  ['Pink', '#f584b8'],
] as const

/** What can be covered without painting: x, y, width, height as parts of the whole. */
const parts: Readonly<Record<string, readonly [number, number, number, number]>> = {
  top: [0, 0, 1, 0.5],
  bottom: [0, 0.5, 1, 0.5],
  left: [0, 0, 0.5, 1],
  right: [0.5, 0, 0.5, 1],
  middle: [0.25, 0.25, 0.5, 0.5],
}

function canvasOf(image: ImageData): HTMLCanvasElement {
  const canvas = make('canvas', { width: String(image.width), height: String(image.height) })
  canvas.getContext('2d')!.putImageData(image, 0, 0)
  return canvas
}

/** A black and white mask as what lies on the cover: amber where it is white. */
function tinted({ data, width, height }: ImageData): HTMLCanvasElement {
  const cover = new ImageData(width, height)
  for (let i = 0; i < data.length; i += 4) cover.data.set([242, 163, 58, data[i]! > 127 ? 255 : 0], i)
  return canvasOf(cover)
}
