import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { localBucket, type Opened } from '../../commands/hosting/local-bucket.ts'
import { conformance } from './conformance.ts'
import { folderStorage } from './folder.ts'
import { memoryStorage } from './memory.ts'
import { listAll } from './storage.ts'

const rooms: string[] = []
const room = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-storage-'))
  rooms.push(folder)
  return folder
}
after(() => Promise.all(rooms.map((folder) => rm(folder, { recursive: true, force: true }))))

conformance('memory', async () => memoryStorage(), 1_000_000)
conformance('folder', async () => folderStorage(await room()), 5_000_000)

let bucket: Opened | undefined
after(() => bucket?.close())
conformance(
  'R2, as workerd has it',
  async () => {
    bucket ??= await localBucket(await room())
    const { storage } = bucket
    await storage.remove((await Array.fromAsync(listAll(storage, ''))).map(({ key }) => key))
    return storage
  },
  // In three parts, of which the last is not full.
  20_000_001,
)
