export { byId, make } from '@ddpm/shared/dom'

/** Renders an image to a canvas and resizes the canvas to fit. */
export function paint(canvas: HTMLCanvasElement, image: ImageData): void {
  if (canvas.width !== image.width) canvas.width = image.width
  if (canvas.height !== image.height) canvas.height = image.height
  canvas.getContext('2d')!.putImageData(image, 0, 0)
}
