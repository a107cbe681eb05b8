import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { secureHeaders } from 'hono/secure-headers'

/**
 * Sets the security headers of the page and its modules.
 *
 * - The opener and embedder policies isolate the page, which WebAssembly threads require. Worker scripts need the
 *   embedder policy, too.
 * - The content security policy allows scripts of this origin, WebAssembly, and the sampler's blob workers. It forbids
 *   inline code and styles.
 */
const pageHeaders = {
  crossOriginOpenerPolicy: 'same-origin',
  crossOriginEmbedderPolicy: 'require-corp',
  crossOriginResourcePolicy: 'same-origin',
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'", "'wasm-unsafe-eval'"],
    workerSrc: ["'self'", 'blob:'],
    connectSrc: ["'self'"],
    imgSrc: ["'self'", 'blob:', 'data:'],
    styleSrc: ["'self'"],
    fontSrc: ["'self'"],
    manifestSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
  xFrameOptions: 'DENY',
  referrerPolicy: 'strict-origin-when-cross-origin',
  strictTransportSecurity: 'max-age=31536000',
  permissionsPolicy: { camera: [], microphone: [], geolocation: [], payment: [], usb: [] },
}

/** Paths of data that others published: files, and the API's answers. */
const dataPath = /^\/(api\/|files\/|[^/]+\/[^/]+\/resolve\/)/

const securePage = secureHeaders(pageHeaders)
/** Data loads and runs nothing, even if a browser opens it as a page. */
const secureData = secureHeaders({
  ...pageHeaders,
  contentSecurityPolicy: { defaultSrc: ["'none'"], sandbox: [] },
})

/** Sets the security headers of every response. */
export const securityHeaders: MiddlewareHandler = (c, next) =>
  (dataPath.test(c.req.path) ? secureData : securePage)(c, next)

/** Paths that other sites may read and embed: models, the sampler module, its element, and their worker scripts. */
const sharedPath =
  /^\/(api\/|files\/|[^/]+\/[^/]+\/resolve\/|sampler\.js$|diffusion-canvas\.js$|(worker|ort)-[a-z]+\.m?js$)/

const publicCors = cors({
  origin: '*',
  allowMethods: ['GET', 'HEAD'],
  allowHeaders: ['Range', 'If-Range', 'If-Match', 'If-None-Match'],
  exposeHeaders: [
    'ETag',
    'Content-Length',
    'Content-Range',
    'Accept-Ranges',
    'Link',
    'X-Request-Id',
    'X-Repo-Commit',
    'X-Linked-ETag',
    'X-Linked-Size',
    'X-Error-Code',
  ],
  maxAge: 86400,
})

/**
 * Allows every origin to read the shared paths. Must be registered before `securityHeaders`, because it replaces the
 * resource policy of that middleware. The headers are set on the finished response. If they were set earlier, Hono
 * would rebuild the response without its `encodeBody` option.
 */
export const crossOriginSharing: MiddlewareHandler = async (c, next) => {
  await next()
  if (!sharedPath.test(c.req.path)) return
  // An OPTIONS request that is not a preflight is handled as on any other path.
  if (c.req.method !== 'OPTIONS' || c.req.header('Access-Control-Request-Method') !== undefined) {
    const preflight = await publicCors(c, async () => {})
    if (preflight) c.res = preflight
  }
  c.res.headers.set('Cross-Origin-Resource-Policy', 'cross-origin')
}
