import { SamplerError } from '../base/errors.ts'
import { download } from './download.ts'
import { cacheFile, findCached, type HashedFile, openPart, sha256Of } from './store.ts'

export interface FetchOptions {
  /** true: they must be kept; false: neither kept nor taken from there; null: kept where there is room. */
  readonly cache: boolean | null
  /** Gets bytes received and expected, over all files that have to be downloaded. */
  readonly onProgress: (loaded: number, total: number) => void
  /** Is told where there was no room to keep a file. */
  readonly onUnkept: (reason: string) => void
}

/**
 * The contents of files, from this browser's cache or from the server. Only what is as the hash promises is given out
 * and kept. What several tabs need at once, one of them downloads.
 * @throws SamplerError when the server cannot be reached, a download breaks off, or size or hash are wrong
 */
export async function fetchFiles(
  server: string,
  files: readonly HashedFile[],
  { cache, onProgress, onUnkept }: FetchOptions,
): Promise<Uint8Array<ArrayBuffer>[]> {
  if (!globalThis.crypto?.subtle) {
    throw new SamplerError(
      'insecure',
      'This page was not opened through https or localhost: browsers then refuse the means to check a download. ' +
        'Open it through https.',
    )
  }
  const wanted = files.map((file) => ({ file, url: urlOf(server, file) }))
  const find = ({ file, url }: (typeof wanted)[number]) =>
    cache === false ? null : findCached(url, file.sha256)
  const kept = await Promise.all(wanted.map(find))
  const total = files.reduce((sum, { bytes }, i) => sum + (kept[i] ? 0 : bytes), 0)
  let loaded = 0
  const onBytes = (count: number) => {
    loaded += count
    onProgress(loaded, total)
  }

  const unkept: { want: (typeof wanted)[number]; contents: Uint8Array<ArrayBuffer> }[] = []
  const bring = async (want: (typeof wanted)[number]): Promise<Uint8Array<ArrayBuffer>> => {
    const { file, url } = want
    // Another tab may have brought it while this one waited.
    const brought = await find(want)
    if (brought) {
      onBytes(file.bytes)
      return brought
    }
    const contents = await downloadChecked(url, file, cache !== false, onBytes)
    if (cache !== false && !(await cacheFile(url, file, contents))) unkept.push({ want, contents })
    return contents
  }
  const alone = <T>({ file }: (typeof wanted)[number], action: () => Promise<T>) =>
    exclusively(`ddpm file ${file.sha256}`, action)
  const all = await Promise.all(wanted.map((want, i) => kept[i] ?? alone(want, () => bring(want))))

  // Again, for the room may have been taken by what had come of a file that does not fit.
  for (const { want, contents } of unkept.sort((a, b) => a.contents.length - b.contents.length)) {
    const { file, url } = want
    if (await alone(want, async () => (await find(want)) !== null || cacheFile(url, file, contents))) continue
    const room = `This browser has no room to keep ${url} (${(file.bytes / 1e6).toFixed(1)} MB)`
    if (cache) {
      throw new SamplerError('quota-exceeded', `${room}. Make room, or load without "cache: true".`)
    }
    onUnkept(`${room}: the next visit downloads it again.`)
  }
  return all
}

/** Where a server has a file. */
export const urlOf = (server: string, { sha256 }: HashedFile): string => `${server}/files/${sha256}`

/** Lets one tab or worker of this origin in at a time. */
function exclusively<T>(name: string, action: () => Promise<T>): Promise<T> {
  return globalThis.navigator?.locks ? navigator.locks.request(name, action) : action()
}

async function downloadChecked(
  url: string,
  file: HashedFile,
  onDisk: boolean,
  onBytes: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const part = await openPart(file, onDisk)
  let finished = false
  try {
    if (part.received > 0) onBytes(part.received)
    // What was left of an earlier visit may be what is wrong, or what the browser's own cache has.
    let isDoubtful = part.received > 0 || file.compiles === true
    let mode: RequestCache = file.compiles ? 'default' : 'no-store'
    for (;;) {
      try {
        await download(url, file.sha256, part, onBytes, mode)
        const found = await sha256Of(part.contents)
        finished = true
        if (found === file.sha256) return part.contents
        throw wrongContents(url, file.sha256, found)
      } catch (error) {
        if (!isDoubtful || !(error instanceof SamplerError && error.code === 'hash-mismatch')) throw error
      }
      onBytes(-part.received)
      part.clear()
      isDoubtful = finished = false
      if (file.compiles) mode = 'reload'
    }
  } finally {
    await part.close(finished)
  }
}

function wrongContents(url: string, expected: string, found: string): SamplerError {
  return new SamplerError(
    'hash-mismatch',
    `${url} has the wrong contents: found SHA-256 ${found}, expected ${expected}. Nothing was kept. Try again; if ` +
      'that does not help, the model has to be published again.',
  )
}
