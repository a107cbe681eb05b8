export { byId, make } from '@ddpm/shared/dom'

/** Puts a picture on a canvas, pixel by pixel. */
export function paint(canvas: HTMLCanvasElement, image: ImageData): void {
  if (canvas.width !== image.width) canvas.width = image.width
  if (canvas.height !== image.height) canvas.height = image.height
  canvas.getContext('2d')!.putImageData(image, 0, 0)
}
