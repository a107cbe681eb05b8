/// <reference lib="webworker" />
// The service worker: page, sampler and the small files of onnxruntime are kept when it is installed, so that the page
// and every model that was loaded once work without a network. Models and WebAssembly are not its business: the
// sampler keeps them itself, under their hashes.
declare const self: ServiceWorkerGlobalScope
/** What to keep, with a name that changes with it; filled in by `edge/build/`. */
declare const SHELL: { readonly version: string; readonly paths: readonly string[] }

/** The folder that this page lies in: others of its host may have pages, and shells, of their own. */
const folder = new URL('.', self.location.href)
const shellCaches = `ddpm-shell ${folder.pathname} `
const shellCache = `${shellCaches}${SHELL.version}`
const shellPaths = new Set(SHELL.paths.map((path) => new URL(path, folder).pathname))
const answersCache = 'ddpm-answers'

self.addEventListener('install', (event) => {
  const keep = async () => {
    const cache = await caches.open(shellCache)
    await cache.addAll([...shellPaths].map((path) => new Request(path, { cache: 'reload' })))
    await self.skipWaiting()
  }
  event.waitUntil(keep())
})

self.addEventListener('activate', (event) => {
  const takeOver = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(shellCaches) && name !== shellCache) await caches.delete(name)
    }
    await self.clients.claim()
  }
  event.waitUntil(takeOver())
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  const { origin, pathname } = new URL(request.url)
  if (request.method !== 'GET' || origin !== self.location.origin) return
  if (pathname.startsWith(`${folder.pathname}api/models`)) event.respondWith(answerOf(request))
  else if (shellPaths.has(pathname)) event.respondWith(shellOf(request, pathname))
})

/** What the server says now; what it said last where it cannot be reached. */
async function answerOf(request: Request): Promise<Response> {
  const cache = await caches.open(answersCache)
  try {
    const answer = await fetch(request)
    if (answer.ok) await cache.put(request, answer.clone())
    return answer
  } catch (error) {
    const kept = await cache.match(request)
    if (kept !== undefined) return kept
    throw error
  }
}

/** It is the server's as long as there is one. */
async function shellOf(request: Request, pathname: string): Promise<Response> {
  const cache = await caches.open(shellCache)
  try {
    return await fetch(request)
  } catch (error) {
    const found = await cache.match(pathname)
    if (found !== undefined) return found
    throw error
  }
}
