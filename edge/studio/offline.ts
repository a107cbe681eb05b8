/// <reference lib="webworker" />
// The service worker. On installation it caches the pages, the sampler and the small files of onnxruntime, so that the
// page and every model that was loaded once work offline. Models and WebAssembly are not cached here: the sampler
// caches them itself, under their hashes.
declare const self: ServiceWorkerGlobalScope
/** The files to cache, and a version that changes with their contents. Defined by `edge/build/`. */
declare const SHELL: { readonly version: string; readonly paths: readonly string[] }

/** The folder of this page. Other folders on the host can contain other pages with other service workers. */
const folder = new URL('.', self.location.href)
const shellCachePrefix = `ddpm-shell ${folder.pathname} `
const shellCacheName = `${shellCachePrefix}${SHELL.version}`
const shellPaths = new Set(SHELL.paths.map((path) => new URL(path, folder).pathname))
const apiCacheName = 'ddpm-answers'

self.addEventListener('install', (event) => {
  const install = async () => {
    const cache = await caches.open(shellCacheName)
    await cache.addAll([...shellPaths].map((path) => new Request(path, { cache: 'reload' })))
    await self.skipWaiting()
  }
  event.waitUntil(install())
})

self.addEventListener('activate', (event) => {
  const activate = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(shellCachePrefix) && name !== shellCacheName) await caches.delete(name)
    }
    await self.clients.claim()
  }
  event.waitUntil(activate())
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  const { origin, pathname } = new URL(request.url)
  if (request.method !== 'GET' || origin !== self.location.origin) return
  if (pathname.startsWith(`${folder.pathname}api/models`)) event.respondWith(fetchApi(event))
  else if (shellPaths.has(pathname)) event.respondWith(fetchShell(request, pathname))
})

/**
 * Network first: returns the server's response, or the cached response if the server is unreachable. The response does
 * not wait until it is cached, because caching fails if the browser's quota is full.
 */
async function fetchApi(event: FetchEvent): Promise<Response> {
  const { request } = event
  let response: Response
  try {
    response = await fetch(request)
  } catch (error) {
    return await findCached(apiCacheName, request, error)
  }
  if (response.ok) event.waitUntil(cacheResponse(request, response.clone()))
  return response
}

async function cacheResponse(request: Request, response: Response): Promise<void> {
  try {
    await (await caches.open(apiCacheName)).put(request, response)
  } catch {
    // The quota is full. The page works online; offline it uses the response that was cached before.
  }
}

/** Network first: returns the server's response, or the cached file if the server is unreachable. */
async function fetchShell(request: Request, pathname: string): Promise<Response> {
  return await fetch(request).catch((error) => findCached(shellCacheName, pathname, error))
}

/** @throws the error of the request if nothing is cached */
async function findCached(cacheName: string, request: Request | string, error: unknown): Promise<Response> {
  const cached = await caches.match(request, { cacheName }).catch(() => undefined)
  if (cached !== undefined) return cached
  throw error
}
