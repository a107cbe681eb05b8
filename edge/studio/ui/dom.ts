export { byId, make } from '@ddpm/shared/dom'

/** Puts a picture on a canvas, pixel by pixel. */
export function paint(canvas: HTMLCanvasElement, picture: ImageData): void {
  if (canvas.width !== picture.width) canvas.width = picture.width
  if (canvas.height !== picture.height) canvas.height = picture.height
  canvas.getContext('2d')!.putImageData(picture, 0, 0)
}
