import { encodeApng } from './apng.ts'
import { make, paint } from './dom.ts'

/** Returns a canvas with the image, each pixel enlarged to a square of `scale` × `scale` pixels. */
export function enlarge(image: ImageData, scale: number): HTMLCanvasElement {
  return tile([image], { columns: 1, scale, margin: 0 })
}

/** Returns a canvas with all images in a grid, enlarged, with a margin between and around them. */
export function renderGrid(images: readonly ImageData[]): HTMLCanvasElement {
  const scale = Math.max(1, Math.round(128 / images[0]!.width))
  return tile(images, { columns: Math.ceil(Math.sqrt(images.length)), scale, margin: 16 })
}

function tile(
  images: readonly ImageData[],
  { columns, scale, margin }: { columns: number; scale: number; margin: number },
): HTMLCanvasElement {
  const [width, height] = [images[0]!.width * scale, images[0]!.height * scale]
  const rows = Math.ceil(images.length / columns)
  const grid = make('canvas')
  grid.width = columns * (width + margin) + margin
  grid.height = rows * (height + margin) + margin
  const context = grid.getContext('2d')!
  context.fillStyle = '#0b0c0c'
  context.fillRect(0, 0, grid.width, grid.height)
  context.imageSmoothingEnabled = false
  const source = make('canvas')
  for (const [i, image] of images.entries()) {
    paint(source, image)
    const x = margin + (i % columns) * (width + margin)
    const y = margin + Math.floor(i / columns) * (height + margin)
    context.drawImage(source, x, y, width, height)
  }
  return grid
}

/** Downloads a canvas as a PNG file. */
export async function downloadPng(canvas: HTMLCanvasElement, fileName: string): Promise<void> {
  download(await encodePng(canvas, fileName), fileName)
}

/**
 * Downloads the denoising steps of one image as an animated PNG. The last frame stays for two seconds.
 * @param frames the image at each step
 * @param milliseconds duration of every other frame
 */
export async function downloadAnimation(
  frames: readonly ImageData[],
  milliseconds: number,
  fileName: string,
): Promise<void> {
  const scale = Math.max(1, Math.round(256 / frames[0]!.width))
  const pngs: { png: Uint8Array; milliseconds: number }[] = []
  for (const [i, frame] of frames.entries()) {
    const blob = await encodePng(enlarge(frame, scale), fileName)
    const isLast = i === frames.length - 1
    pngs.push({ png: new Uint8Array(await blob.arrayBuffer()), milliseconds: isLast ? 2000 : milliseconds })
  }
  download(new Blob([encodeApng(pngs)], { type: 'image/png' }), fileName)
}

async function encodePng(canvas: HTMLCanvasElement, fileName: string): Promise<Blob> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'))
  if (!blob) throw new Error(`Cannot create ${fileName}: the browser could not encode the image.`)
  return blob
}

function download(blob: Blob, fileName: string): void {
  const url = URL.createObjectURL(blob)
  make('a', { href: url, download: fileName }).click()
  // The browser reads the data shortly after the click. One minute is long enough.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
