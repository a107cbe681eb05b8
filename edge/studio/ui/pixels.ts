import { fromRgba, toRgba, UserError } from 'ddpm-sampler'
import { make, paint } from './dom.ts'

/** Pictures as bytes and text, and how they are brought to a model's size. */

interface Shape {
  readonly channels: number
  readonly height: number
  readonly width: number
}

/** Values as a network has them, [channels, height, width] in about [−1, 1]. */
export function pixelsOf(values: Float32Array, shape: Shape): ImageData {
  return new ImageData(toRgba(values, 0, shape), shape.width, shape.height)
}

/** The reverse. */
export function valuesOf({ data }: ImageData, shape: Shape): Float32Array {
  return fromRgba(data, shape)
}

/**
 * Scaled so that all of the frame is covered, cropped in the middle, laid on white where it is transparent, and grey
 * for a model of one channel: as the trainer prepares its pictures.
 */
export function fitted(
  source: CanvasImageSource & { width: number; height: number },
  shape: Shape,
): ImageData {
  const { width, height, channels } = shape
  const canvas = make('canvas', { width: String(width), height: String(height) })
  const context = canvas.getContext('2d', { willReadFrequently: true })!
  context.fillStyle = '#fff'
  context.fillRect(0, 0, width, height)
  context.imageSmoothingQuality = 'high'
  const scale = Math.max(width / source.width, height / source.height)
  const [w, h] = [source.width * scale, source.height * scale]
  context.drawImage(source, (width - w) / 2, (height - h) / 2, w, h)
  const image = context.getImageData(0, 0, width, height)
  return channels === 1 ? grey(image) : image
}

/** Luminance, Rec. 601, in all three colours. */
function grey(image: ImageData): ImageData {
  const { data } = image
  for (let i = 0; i < data.length; i += 4) {
    const y = Math.round(0.299 * data[i]! + 0.587 * data[i + 1]! + 0.114 * data[i + 2]!)
    data.fill(y, i, i + 3)
  }
  return image
}

/** @throws UserError where the browser cannot read it as a picture */
export async function readImage(file: File): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file)
  } catch {
    throw new UserError(
      `${file.name || 'The file'} cannot be read as a picture. Choose a PNG, JPEG, WebP, GIF or AVIF file.`,
    )
  }
}

/** A picture as text for a link or a shelf: a PNG file, base64 without what URLs escape. */
export function toText(image: ImageData): string {
  const canvas = make('canvas')
  paint(canvas, image)
  const base64 = canvas.toDataURL('image/png').split(',')[1]!
  return base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** @throws UserError where the text is no picture */
export async function fromText(text: string): Promise<ImageData> {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) =>
      c.charCodeAt(0),
    )
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }), {
      colorSpaceConversion: 'none',
    })
    const context = make('canvas', { width: String(bitmap.width), height: String(bitmap.height) }).getContext(
      '2d',
    )!
    context.drawImage(bitmap, 0, 0)
    return context.getImageData(0, 0, bitmap.width, bitmap.height)
  } catch {
    throw new UserError(
      'The picture in the link cannot be read; the link may have been cut. Copy it once more.',
    )
  }
}
