import { byId, make } from '../ui/dom.ts'
import { reportErrors } from '../ui/error-banner.ts'
import { type ImageShape, readImage } from '../ui/pixels.ts'
import { findBackground } from './background.ts'
import { listenForFiles } from './files.ts'
import { createLayers, type Region } from './layers.ts'
import { listenForStrokes } from './strokes.ts'

export interface DrawingBoard {
  /** Adapts the board to a model's image size. An existing image is resized. */
  resize(shape: ImageShape): void
  /**
   * Takes the background colour from a model's samples, so that a hand-drawn image resembles them. For example, digits
   * are white on black.
   */
  setBackground(samples: readonly ImageData[]): void
  load(image: ImageData, mask: ImageData | null): void
  /** Returns the image at the model's size. */
  image(): ImageData
  /** Returns the mask at the model's size, white where the image should change; null if inpainting is off. */
  mask(): ImageData | null
}

/** The controls of the mask. */
export interface MaskControls {
  /** Whether inpainting is on. Strokes then change the mask instead of the image. */
  readonly inpaint: HTMLInputElement
  /** Marks a predefined region. */
  readonly region: HTMLSelectElement
}

/**
 * Connects the drawing board: a canvas to paint on or to open an image in.
 * @param onChange called after every change by the visitor
 * @param maskControls enable a mask for inpainting
 */
export function createDrawingBoard(
  onChange: () => void,
  maskControls: MaskControls | null = null,
): DrawingBoard {
  const board = byId('board', HTMLDivElement)
  const imageCanvas = byId('board-image', HTMLCanvasElement)
  const layers = createLayers(imageCanvas, byId('board-mask', HTMLCanvasElement))
  const brush = byId('brush', HTMLInputElement)
  const undo = byId('undo', HTMLButtonElement)
  const colour = createColourPicker()

  const isMasking = () => maskControls?.inpaint.checked ?? false
  const activeLayer = () => (isMasking() ? 'mask' : 'image')
  const updateUndo = () => {
    undo.disabled = !layers.canUndo
  }
  const remember = () => {
    layers.remember()
    updateUndo()
  }
  /** Makes a change that the visitor can undo. */
  const change = (action: () => void) => {
    remember()
    action()
    onChange()
  }

  listenForStrokes(board, imageCanvas, {
    begin: remember,
    stroke(from, to) {
      const width = brush.valueAsNumber / 100
      layers.stroke(from, to, { layer: activeLayer(), colour: colour.value, width })
      onChange()
    },
    keyboardStep: () => (brush.valueAsNumber / 200) * imageCanvas.width,
  })
  const open = (file: File) =>
    reportErrors(async () => {
      const bitmap = await readImage(file)
      change(() => layers.loadImage(bitmap))
    })
  listenForFiles(board, open)
  const fileInput = byId('file', HTMLInputElement)
  fileInput.addEventListener('change', () => {
    const [file] = fileInput.files ?? []
    if (file) open(file)
    fileInput.value = ''
  })
  undo.addEventListener('click', () => {
    if (!layers.canUndo) return
    layers.undo()
    updateUndo()
    onChange()
  })
  byId('clear', HTMLButtonElement).addEventListener('click', () => change(() => layers.clear(activeLayer())))
  maskControls?.region.addEventListener('change', () => {
    const { region } = maskControls
    change(() => {
      layers.markRegion(regions[region.value] ?? [0, 0, 0, 0])
      region.value = ''
    })
  })

  return {
    resize(shape) {
      colour.reset()
      layers.setBackground('#ffffff')
      layers.resize(shape)
      updateUndo()
      board.style.aspectRatio = `${shape.width} / ${shape.height}`
    },
    setBackground(samples) {
      const { colour: background, isDark } = findBackground(samples)
      layers.setBackground(background)
      // The brush colour changes only if there is no image yet.
      if (layers.isEmpty) colour.reset(isDark)
    },
    load(image, mask) {
      change(() => {
        layers.loadImage(image)
        layers.loadMask(mask)
        if (maskControls) maskControls.inpaint.checked = mask !== null
      })
    },
    image: layers.image,
    mask: () => (isMasking() ? layers.mask() : null),
  }
}

interface ColourPicker {
  readonly value: string
  /** Returns to the initial colour, or to white on dark backgrounds, unless the visitor chose a colour. */
  reset(isDark?: boolean): void
}

/** Connects the colour input and creates the swatches. */
function createColourPicker(): ColourPicker {
  const input = byId('colour', HTMLInputElement)
  const initial = input.value
  let isChosen = false
  input.addEventListener('input', () => {
    isChosen = true
  })
  byId('swatches', HTMLFieldSetElement).append(
    ...swatchColours.map(([name, value]) => {
      const swatch = make('button', { type: 'button', class: 'swatch', 'aria-label': name, title: name })
      swatch.style.backgroundColor = value
      swatch.addEventListener('click', () => {
        input.value = value
        isChosen = true
      })
      return swatch
    }),
  )
  return {
    get value() {
      return input.value
    },
    reset(isDark = false) {
      if (!isChosen) input.value = isDark ? white : initial
    },
  }
}

const white = '#ffffff'

const swatchColours = [
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

const regions: Readonly<Record<string, Region>> = {
  top: [0, 0, 1, 0.5],
  bottom: [0, 0.5, 1, 0.5],
  left: [0, 0, 0.5, 1],
  right: [0.5, 0, 0.5, 1],
  middle: [0.25, 0.25, 0.5, 0.5],
}
