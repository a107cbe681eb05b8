// The dashboard's server, in a thread of its own: onnxruntime's run() holds the main thread for a whole step. What it
// knows it reads from the run's files; the main thread only says how the run ended.
import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { listSamples, readMetrics } from './files.ts'
import type { RunFacts, RunState, Update } from './protocol.ts'

/** What the thread is started with. */
export interface ServerData {
  readonly folder: string
  readonly port: number
  readonly page: string
  readonly facts: RunFacts
}

/** What the thread says: where it listens, or why it cannot. */
export type ServerMessage = { readonly port: number } | { readonly error: string }

const { folder, port, page, facts } = workerData as ServerData
const main = parentPort!
const metrics = readMetrics(folder)
const listeners = new Set<ServerResponse>()
let state: RunState = 'running'
let samples: Update['samples'] = []
let shown = metrics.history.extent()

function send(to: ServerResponse, event: string, data: unknown): void {
  to.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}

function update(from: number): Update {
  return { ...metrics.history.curves(from), samples, state }
}

/** Reads the files again and tells all pages what changed. */
function look(): void {
  const grew = metrics.read()
  const files = listSamples(folder, metrics.history.latest()?.step ?? 0)
  const drawn = files.length !== samples.length
  if (drawn) samples = files.map(({ step, file }) => ({ step, url: `samples/${file}` }))
  if (!grew && !drawn && state === 'running') return
  // The last point shown may still have been growing; thinning moves them all.
  const extent = metrics.history.extent()
  const from = extent.stride === shown.stride ? Math.max(0, shown.points - 1) : 0
  shown = extent
  const news = update(from)
  for (const listener of listeners) send(listener, 'update', news)
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  const sample = /^\/samples\/(step-\d+\.png)$/.exec(pathname)?.[1]
  // A run that was killed and resumed writes the same names again: nothing is to be kept.
  const answer = (status: number, type: string, body: string | Buffer) =>
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
  if (pathname === '/') answer(200, 'text/html; charset=utf-8', page)
  else if (pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write('retry: 1000\n\n')
    send(response, 'facts', facts)
    send(response, 'update', update(0))
    listeners.add(response)
    response.on('close', () => listeners.delete(response))
  } else if (sample && samples.some(({ url }) => url === `samples/${sample}`)) {
    answer(200, 'image/png', readFileSync(join(folder, 'samples', sample)))
  } else answer(404, 'text/plain', 'Not found')
})

server.on('error', (error) => main.postMessage({ error: error.message } satisfies ServerMessage))
server.listen(port, '127.0.0.1', () => {
  const message: ServerMessage = { port: (server.address() as AddressInfo).port }
  main.postMessage(message)
})
look()
const timer = setInterval(look, 500)

main.once('message', async (ended: RunState) => {
  clearInterval(timer)
  state = ended
  look()
  await Promise.all([...listeners].map((listener) => new Promise<void>((done) => listener.end(done))))
  process.exit() // ends this thread alone
})
