import { make } from '../ui/dom.ts'
import { type ImageShape, resizeToShape, toCanvas } from '../ui/pixels.ts'
import type { Point } from './strokes.ts'

/** A rectangle as shares of the whole: x, y, width, height. */
export type Region = readonly [x: number, y: number, width: number, height: number]

export interface Brush {
  readonly layer: 'image' | 'mask'
  /** CSS colour; ignored on the mask. */
  readonly colour: string
  /** Line width as a share of the canvas width. */
  readonly width: number
}

/** The image of the drawing board and the mask above it, with undo. */
export interface Layers {
  /** Whether nothing was painted or loaded yet. */
  readonly isEmpty: boolean
  readonly canUndo: boolean
  /** Changes the image size and clears undo. An existing image is resized. */
  resize(shape: ImageShape): void
  /** Sets the background colour; an empty board is filled with it. */
  setBackground(colour: string): void
  /** Saves the current state, so that `undo` returns to it. */
  remember(): void
  undo(): void
  /** Replaces the image. It is resized, except for image data of the right size. */
  loadImage(source: ImageData | ImageBitmap): void
  /** Replaces the mask; null clears it. White areas are marked. */
  loadMask(mask: ImageData | null): void
  stroke(from: Point, to: Point, brush: Brush): void
  /** Marks a region of the mask and clears the rest. */
  markRegion(region: Region): void
  /** Clears the mask, or the image together with the mask. */
  clear(layer: Brush['layer']): void
  /** Returns the image at the model's size. */
  image(): ImageData
  /** Returns the mask at the model's size: white where it is marked, black elsewhere. */
  mask(): ImageData
}

/** Approximate side of the canvases in pixels. They are larger than the model's images: strokes get soft edges. */
const canvasSide = 256
const maxUndo = 20
/** Amber, also as R, G, B. */
const maskColour = '#f2a33a'
const maskRgb = [242, 163, 58] as const

/** Manages two stacked canvases: one for the image, one for the mask. */
export function createLayers(imageCanvas: HTMLCanvasElement, maskCanvas: HTMLCanvasElement): Layers {
  const [imageContext, maskContext] = [imageCanvas, maskCanvas].map(
    (canvas) => canvas.getContext('2d', { willReadFrequently: true })!,
  ) as [CanvasRenderingContext2D, CanvasRenderingContext2D]
  let shape: ImageShape = { channels: 3, height: 32, width: 32 }
  let background = '#ffffff'
  /** The loaded image at the model's size, until something is painted: downscaling the canvas would change it. */
  let original: ImageData | null = null
  const undoStack: { image: ImageData; mask: ImageData; original: ImageData | null }[] = []

  const snapshot = (context: CanvasRenderingContext2D) =>
    context.getImageData(0, 0, imageCanvas.width, imageCanvas.height)
  const clearMask = () => maskContext.clearRect(0, 0, maskCanvas.width, maskCanvas.height)
  const clearAll = () => {
    original = null
    imageContext.fillStyle = background
    imageContext.fillRect(0, 0, imageCanvas.width, imageCanvas.height)
    clearMask()
  }
  const loadImage = (source: ImageData | ImageBitmap) => {
    if (source instanceof ImageBitmap) original = resizeToShape(source, shape)
    else if (source.width === shape.width && source.height === shape.height) original = source
    else original = resizeToShape(toCanvas(source), shape)
    imageContext.imageSmoothingEnabled = false
    imageContext.drawImage(toCanvas(original), 0, 0, imageCanvas.width, imageCanvas.height)
    imageContext.imageSmoothingEnabled = true
  }
  const image = () => original ?? resizeToShape(imageCanvas, shape)

  return {
    get isEmpty() {
      return undoStack.length === 0 && original === null
    },
    get canUndo() {
      return undoStack.length > 0
    },
    resize(newShape) {
      const previous = original ?? (imageCanvas.width > 0 && undoStack.length > 0 ? image() : null)
      shape = newShape
      const scale = Math.max(1, Math.round(canvasSide / Math.max(shape.width, shape.height)))
      for (const canvas of [imageCanvas, maskCanvas]) {
        canvas.width = shape.width * scale
        canvas.height = shape.height * scale
      }
      undoStack.length = 0
      clearAll()
      if (previous) loadImage(resizeToShape(toCanvas(previous), shape))
    },
    setBackground(colour) {
      background = colour
      if (undoStack.length === 0 && original === null) clearAll()
    },
    remember() {
      undoStack.push({ image: snapshot(imageContext), mask: snapshot(maskContext), original })
      if (undoStack.length > maxUndo) undoStack.shift()
    },
    undo() {
      const last = undoStack.pop()
      if (!last) return
      imageContext.putImageData(last.image, 0, 0)
      maskContext.putImageData(last.mask, 0, 0)
      original = last.original
    },
    loadImage,
    loadMask(mask) {
      clearMask()
      if (mask) maskContext.drawImage(tint(mask), 0, 0, maskCanvas.width, maskCanvas.height)
    },
    stroke(from, to, { layer, colour, width }) {
      const context = layer === 'mask' ? maskContext : imageContext
      if (layer === 'image') original = null
      context.strokeStyle = layer === 'mask' ? maskColour : colour
      context.lineWidth = width * imageCanvas.width
      context.lineCap = 'round'
      context.beginPath()
      context.moveTo(from.x, from.y)
      context.lineTo(to.x, to.y)
      context.stroke()
    },
    markRegion([x, y, width, height]) {
      const { width: w, height: h } = maskCanvas
      clearMask()
      maskContext.fillStyle = maskColour
      maskContext.fillRect(x * w, y * h, width * w, height * h)
    },
    clear(layer) {
      if (layer === 'mask') clearMask()
      else clearAll()
    },
    image,
    mask() {
      const { width, height } = shape
      const small = make('canvas', { width: String(width), height: String(height) })
      const context = small.getContext('2d')!
      context.drawImage(maskCanvas, 0, 0, width, height)
      const mask = context.getImageData(0, 0, width, height)
      for (let i = 0; i < mask.data.length; i += 4) {
        mask.data.fill(mask.data[i + 3]! > 127 ? 255 : 0, i, i + 3)
        mask.data[i + 3] = 255
      }
      return mask
    },
  }
}

/** Converts a black and white mask to an overlay: amber where it is white, transparent elsewhere. */
function tint({ data, width, height }: ImageData): HTMLCanvasElement {
  const overlay = new ImageData(width, height)
  for (let i = 0; i < data.length; i += 4) overlay.data.set([...maskRgb, data[i]! > 127 ? 255 : 0], i)
  return toCanvas(overlay)
}
