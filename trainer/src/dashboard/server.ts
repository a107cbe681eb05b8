// The dashboard's HTTP server. It runs in a worker thread, because onnxruntime's run() blocks the main thread for a whole
// step. It reads the metrics and samples from the run's files. The main thread sends only when to begin, and the final state.
import { readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import type { RunFacts, RunState, Update } from './protocol.ts'
import { listSamples, openMetricsReader } from './run-files.ts'

/** Start data of the thread. */
export interface ServerData {
  readonly folder: string
  readonly port: number
  readonly page: string
  readonly facts: RunFacts
}

/** Message from the thread: the port on which it listens, or the error message if it cannot listen. */
export type ServerMessage = { readonly port: number } | { readonly error: string }

/** Message to the thread: begin to read the run's files, or the final state of the run. */
export type ServerCommand = 'begin' | RunState

const { folder, port, page, facts } = workerData as ServerData
const main = parentPort!
const metrics = openMetricsReader(folder)
const listeners = new Set<ServerResponse>()
let state: RunState = 'running'
let timer: NodeJS.Timeout | null = null
let samples: Update['samples'] = []
let sent = metrics.history.extent()

/** Sends a server-sent event. */
function send(response: ServerResponse, event: string, data: unknown): void {
  response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}

function update(from: number): Update {
  return { ...metrics.history.curves(from), samples, state }
}

/** Reads the run's files and sends the changes to all open pages. If nothing has changed, sends only if `always`. */
function refresh(always: boolean): void {
  const grew = metrics.read()
  const files = listSamples(folder, metrics.history.latest()?.step ?? 0)
  const hasNewSamples = files.length !== samples.length
  if (hasNewSamples) samples = files.map(({ step, file }) => ({ step, url: `samples/${file}` }))
  if (!grew && !hasNewSamples && !always) return
  // The last point that was sent may have been incomplete, so it is sent again. If points were merged, all have changed.
  const extent = metrics.history.extent()
  const from = extent.stride === sent.stride ? Math.max(0, sent.points - 1) : 0
  sent = extent
  const data = update(from)
  for (const listener of listeners) send(listener, 'update', data)
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  const sample = /^\/samples\/(step-\d+\.png)$/.exec(pathname)?.[1]
  // A resumed run may write other content to the same file names, so browsers must not cache anything.
  const respond = (status: number, type: string, body: string | Buffer) =>
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
  if (pathname === '/') respond(200, 'text/html; charset=utf-8', page)
  else if (pathname === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write('retry: 1000\n\n')
    send(response, 'facts', facts)
    if (timer) send(response, 'update', update(0))
    listeners.add(response)
    response.on('close', () => listeners.delete(response))
  } else if (sample && samples.some(({ url }) => url === `samples/${sample}`)) {
    respond(200, 'image/png', readFileSync(join(folder, 'samples', sample)))
  } else respond(404, 'text/plain', 'Not found')
})

server.on('error', (error) => main.postMessage({ error: error.message } satisfies ServerMessage))
server.listen(port, '127.0.0.1', () => {
  const message: ServerMessage = { port: (server.address() as AddressInfo).port }
  main.postMessage(message)
})

main.on('message', async (command: ServerCommand) => {
  if (command === 'begin') {
    refresh(true)
    timer = setInterval(() => refresh(false), 500)
    return
  }
  if (timer) clearInterval(timer)
  state = command
  refresh(true)
  await Promise.all([...listeners].map((listener) => new Promise<void>((done) => listener.end(done))))
  process.exit() // In a worker, this ends only the thread.
})
