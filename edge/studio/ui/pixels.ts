// Conversions between image data, model values and text, and resizing to the image size of a model.
import { fromRgba, toRgba, UserError } from 'ddpm-sampler'
import { make, paint } from './dom.ts'

/** Size and number of channels of an image. */
export interface ImageShape {
  readonly channels: number
  readonly height: number
  readonly width: number
}

/** Converts model values, [channels, height, width] in about [−1, 1], to an image. */
export function toImage(values: Float32Array, shape: ImageShape): ImageData {
  return new ImageData(toRgba(values, 0, shape), shape.width, shape.height)
}

/** Converts an image of the model's size to model values, [channels, height, width] in [−1, 1]. */
export function toValues({ data }: ImageData, shape: ImageShape): Float32Array {
  return fromRgba(data, shape)
}

/**
 * Resizes an image to a model's size, as the trainer prepares its images: scaled to cover the whole area, cropped at
 * the centre, transparency on white, grey for models with one channel.
 */
export function resizeToShape(
  source: CanvasImageSource & { width: number; height: number },
  { width, height, channels }: ImageShape,
): ImageData {
  const canvas = make('canvas', { width: String(width), height: String(height) })
  const context = canvas.getContext('2d', { willReadFrequently: true })!
  context.fillStyle = '#fff'
  context.fillRect(0, 0, width, height)
  context.imageSmoothingQuality = 'high'
  const scale = Math.max(width / source.width, height / source.height)
  const [w, h] = [source.width * scale, source.height * scale]
  context.drawImage(source, (width - w) / 2, (height - h) / 2, w, h)
  const image = context.getImageData(0, 0, width, height)
  return channels === 1 ? toGrey(image) : image
}

/** Replaces all three colours by the luminance (Rec. 601). */
function toGrey(image: ImageData): ImageData {
  const { data } = image
  for (let i = 0; i < data.length; i += 4) {
    const y = Math.round(0.299 * data[i]! + 0.587 * data[i + 1]! + 0.114 * data[i + 2]!)
    data.fill(y, i, i + 3)
  }
  return image
}

/** Returns a canvas that shows an image. */
export function toCanvas(image: ImageData): HTMLCanvasElement {
  const canvas = make('canvas')
  paint(canvas, image)
  return canvas
}

/**
 * Decodes an image file.
 * @throws UserError if the browser cannot decode it
 */
export async function readImage(file: File): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file)
  } catch {
    const name = file.name || 'the file'
    throw new UserError(`Cannot read ${name}: not an image. Choose a PNG, JPEG, WebP, GIF or AVIF file.`)
  }
}

/** Encodes an image as text for a link: a PNG file in base64url (RFC 4648) without padding. */
export function toText(image: ImageData): string {
  const base64 = toCanvas(image).toDataURL('image/png').split(',')[1]!
  return base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/**
 * Decodes the text of `toText`.
 * @throws UserError if the text is not an image
 */
export async function fromText(text: string): Promise<ImageData> {
  try {
    const base64 = text.replaceAll('-', '+').replaceAll('_', '/')
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
    const blob = new Blob([bytes], { type: 'image/png' })
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none' })
    const { width, height } = bitmap
    const canvas = make('canvas', { width: String(width), height: String(height) })
    const context = canvas.getContext('2d')!
    context.drawImage(bitmap, 0, 0)
    return context.getImageData(0, 0, width, height)
  } catch {
    throw new UserError(
      'Cannot read the image in the link. The link may be incomplete: copy the whole link again.',
    )
  }
}
