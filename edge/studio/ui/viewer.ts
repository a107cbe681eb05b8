import { byId } from './dom.ts'
import { downloadPng, enlarge } from './png.ts'

/** Connects the dialog that shows one enlarged image with download buttons. Returns the function that opens it. */
export function createViewer(): (image: ImageData, title: string, fileName: string) => void {
  const dialog = byId('viewer', HTMLDialogElement)
  const heading = byId('viewer-title', HTMLHeadingElement)
  const original = byId('download-original', HTMLButtonElement)
  const enlarged = byId('download-enlarged', HTMLButtonElement)
  byId('close-viewer', HTMLButtonElement).addEventListener('click', () => dialog.close())
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close()
  })

  return (image, title, fileName) => {
    const { width, height } = image
    const scale = Math.max(2, Math.round(512 / Math.max(width, height)))
    const canvas = enlarge(image, scale)
    canvas.id = 'viewer-canvas'
    const available = Math.min(window.innerWidth - 64, window.innerHeight - 200)
    const maxScale = Math.max(1, Math.floor(available / Math.max(width, height)))
    canvas.style.width = `${width * Math.min(maxScale, scale)}px`
    document.getElementById('viewer-canvas')!.replaceWith(canvas)
    heading.textContent = title
    original.textContent = `Download PNG, ${width} × ${height}`
    original.onclick = () => downloadPng(enlarge(image, 1), `${fileName}.png`)
    enlarged.textContent = `Download PNG, ${width * scale} × ${height * scale}`
    enlarged.onclick = () => downloadPng(canvas, `${fileName}-large.png`)
    dialog.showModal()
  }
}
