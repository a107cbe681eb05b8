/** Calls `onFile` with files that are dropped on the board, and with images that are pasted while it is visible. */
export function listenForFiles(board: HTMLElement, onFile: (file: File) => void): void {
  const findImage = (items: DataTransfer | null) =>
    Array.from(items?.files ?? []).find(({ type }) => type.startsWith('image/'))
  board.addEventListener('dragover', (event) => event.preventDefault())
  board.addEventListener('drop', (event) => {
    event.preventDefault()
    const file = findImage(event.dataTransfer) ?? event.dataTransfer?.files[0]
    if (file) onFile(file)
  })
  document.addEventListener('paste', ({ clipboardData }) => {
    const file = findImage(clipboardData)
    if (file && board.offsetParent !== null) onFile(file)
  })
}
