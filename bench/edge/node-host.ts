// Serves a folder on Node in its own process, so that its memory can be measured. Arguments: STORE PUBLIC.
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'

const [store, publicFolder] = process.argv.slice(2) as [string, string]
const storage = folderStorage(store)
const { url } = await serveOnNode({ storage, publicFolder, port: 0, limits: null, log: () => {} })
console.log(url)
