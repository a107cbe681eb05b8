import { animate } from './apng.ts'
import { make, paint } from './dom.ts'

/** A picture on a canvas of its own, each pixel a square of `scale` pixels. */
export function enlarged(image: ImageData, scale: number): HTMLCanvasElement {
  return sheetOf([image], 1, scale, 0)
}

/** All pictures side by side, enlarged, with a margin between and around them. */
export function grid(images: readonly ImageData[]): HTMLCanvasElement {
  const scale = Math.max(1, Math.round(128 / images[0]!.width))
  return sheetOf(images, Math.ceil(Math.sqrt(images.length)), scale, 16)
}

function sheetOf(
  images: readonly ImageData[],
  columns: number,
  scale: number,
  margin: number,
): HTMLCanvasElement {
  const [width, height] = [images[0]!.width * scale, images[0]!.height * scale]
  const rows = Math.ceil(images.length / columns)
  const sheet = make('canvas')
  sheet.width = columns * (width + margin) + margin
  sheet.height = rows * (height + margin) + margin
  const context = sheet.getContext('2d')!
  context.fillStyle = '#0b0c0c'
  context.fillRect(0, 0, sheet.width, sheet.height)
  context.imageSmoothingEnabled = false
  const own = make('canvas')
  for (const [i, image] of images.entries()) {
    paint(own, image)
    const x = margin + (i % columns) * (width + margin)
    const y = margin + Math.floor(i / columns) * (height + margin)
    context.drawImage(own, x, y, width, height)
  }
  return sheet
}

/** Hands a canvas to the visitor as a PNG file. */
export async function save(canvas: HTMLCanvasElement, name: string): Promise<void> {
  offer(await pngOf(canvas, name), name)
}

/**
 * Hands a denoising to the visitor as a moving PNG; its last picture stays for a while.
 * @param frames one picture at each of its times
 */
export async function saveFilm(
  frames: readonly ImageData[],
  milliseconds: number,
  name: string,
): Promise<void> {
  const scale = Math.max(1, Math.round(256 / frames[0]!.width))
  const pngs: { png: Uint8Array; milliseconds: number }[] = []
  for (const [i, frame] of frames.entries()) {
    const blob = await pngOf(enlarged(frame, scale), name)
    const last = i === frames.length - 1
    pngs.push({ png: new Uint8Array(await blob.arrayBuffer()), milliseconds: last ? 2000 : milliseconds })
  }
  offer(new Blob([animate(pngs)], { type: 'image/png' }), name)
}

async function pngOf(canvas: HTMLCanvasElement, name: string): Promise<Blob> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'))
  if (!blob) throw new Error(`The browser could not make ${name}.`)
  return blob
}

function offer(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob)
  make('a', { href: url, download: name }).click()
  // The download has its own hold on the data once the click has been handled; a minute is plenty.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}
