import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { secureHeaders } from 'hono/secure-headers'

/**
 * Headers of every answer. Opener and embedder policy isolate the page, so that WebAssembly may use threads;
 * worker scripts need the embedder policy themselves. The content policy allows our own scripts, WebAssembly
 * and the blob workers that the sampler starts, and no inline code or style.
 */
export const security: MiddlewareHandler = secureHeaders({
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
})

/** What other sites may read and embed: models, the module that runs them, its element, and the scripts it starts. */
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
 * Opens the shared paths to every origin. Stands outside `security`, whose resource policy it widens, and sets headers
 * on the finished answer: set before, Hono would rebuild it, and lose that its body is compressed already.
 */
export const sharing: MiddlewareHandler = async (c, next) => {
  await next()
  if (!sharedPath.test(c.req.path)) return
  // OPTIONS that asks for no permission is answered as elsewhere.
  if (c.req.method !== 'OPTIONS' || c.req.header('Access-Control-Request-Method') !== undefined) {
    const permission = await publicCors(c, async () => {})
    if (permission) c.res = permission
  }
  c.res.headers.set('Cross-Origin-Resource-Policy', 'cross-origin')
}
