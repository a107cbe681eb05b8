import { byId } from './dom.ts'
import { enlarged, save } from './png.ts'

/** Opens a picture on its own, to look at and to save. */
export function createViewer(): (image: ImageData, title: string, fileName: string) => void {
  const dialog = byId('viewer', HTMLDialogElement)
  const heading = byId('viewer-title', HTMLHeadingElement)
  const ownSize = byId('save-own', HTMLButtonElement)
  const large = byId('save-large', HTMLButtonElement)
  byId('close-viewer', HTMLButtonElement).addEventListener('click', () => dialog.close())
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close()
  })

  return (image, title, fileName) => {
    const { width, height } = image
    const scale = Math.max(2, Math.round(512 / Math.max(width, height)))
    const canvas = enlarged(image, scale)
    canvas.id = 'viewer-canvas'
    const room = Math.min(window.innerWidth - 64, window.innerHeight - 200)
    const shown = Math.max(1, Math.floor(room / Math.max(width, height)))
    canvas.style.width = `${width * Math.min(shown, scale)}px`
    document.getElementById('viewer-canvas')!.replaceWith(canvas)
    heading.textContent = title
    ownSize.textContent = `Save ${width} × ${height}`
    ownSize.onclick = () => save(enlarged(image, 1), `${fileName}.png`)
    large.textContent = `Save ${width * scale} × ${height * scale}`
    large.onclick = () => save(canvas, `${fileName}-large.png`)
    dialog.showModal()
  }
}
