// Serves a folder store until the standard input ends. Prints its address. A process of its own, for a file system that
// only this process sees.
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'

const folder = process.argv[2]!
const serving = await serveOnNode({
  storage: folderStorage(folder),
  publicFolder: folder,
  port: 0,
  publishToken: 'a token of many letters',
  limits: null,
  log: () => {},
})
console.log(serving.url)
process.stdin.on('end', () => serving.stop()).resume()
