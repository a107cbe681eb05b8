import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

/** Returns the path of Firefox on the PATH, or null. */
export function findFirefox(env: NodeJS.ProcessEnv = process.env): string | null {
  const folders = (env['PATH'] ?? '').split(delimiter)
  const paths = folders.flatMap((folder) => [join(folder, 'firefox-esr'), join(folder, 'firefox')])
  return paths.find((path) => existsSync(path)) ?? null
}

/** A page in Firefox, controlled with WebDriver BiDi. Playwright supports only its own build of Firefox. */
export interface FirefoxPage {
  /** Runs an async function in the page. Argument and result are transferred as JSON. */
  evaluate<A, R>(action: (argument: A) => Promise<R>, argument: A): Promise<R>
  close(): Promise<void>
}

/** Starts a headless Firefox with a temporary profile and opens a page. */
export async function openInFirefox(executable: string, url: string): Promise<FirefoxPage> {
  const profile = await mkdtemp(join(tmpdir(), 'ddpm-firefox-'))
  const flags = ['--headless', '--no-remote', '--remote-debugging-port', '0', '--profile', profile]
  const firefox = spawn(executable, flags, { stdio: ['ignore', 'ignore', 'pipe'] })
  const close = async () => {
    const exited = new Promise((resolve) => firefox.once('exit', resolve))
    firefox.kill()
    await exited
    await rm(profile, { recursive: true, force: true })
  }
  try {
    const send = await connect(`${await readAddress(firefox)}/session`)
    await send('session.new', { capabilities: {} })
    const { contexts } = (await send('browsingContext.getTree', {})) as { contexts: { context: string }[] }
    const context = contexts[0]!.context
    await send('browsingContext.navigate', { context, url, wait: 'complete' })
    return {
      async evaluate(action, argument) {
        const expression = `(${action})(${JSON.stringify(argument)}).then(JSON.stringify)`
        const parameters = { expression, target: { context }, awaitPromise: true }
        const response = (await send('script.evaluate', parameters)) as Evaluation
        if (response.type === 'success') return JSON.parse(response.result.value)
        throw new Error(response.exceptionDetails.text)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

type Evaluation =
  | { readonly type: 'success'; readonly result: { readonly value: string } }
  | { readonly type: 'exception'; readonly exceptionDetails: { readonly text: string } }

/** Reads the WebSocket address that Firefox prints at the start. */
function readAddress(firefox: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    firefox.stderr!.on('data', (chunk) => {
      output += chunk
      const [address] = /ws:\/\/[\w.:[\]]+/.exec(output) ?? []
      if (address) resolve(address)
    })
    firefox.once('exit', (code) => reject(new Error(`Firefox exited with code ${code}: ${output}`)))
  })
}

/** Connects to Firefox. Returns a function that sends a command and waits for its result. */
async function connect(url: string): Promise<(method: string, params: object) => Promise<unknown>> {
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => reject(new Error(`Cannot connect to Firefox at ${url}.`))
  })
  const pending = new Map<number, (response: CommandResponse) => void>()
  socket.onmessage = ({ data }) => {
    const response = JSON.parse(String(data)) as CommandResponse
    pending.get(response.id)?.(response)
  }
  let lastId = 0
  return async (method, params) => {
    const id = ++lastId
    const response = await new Promise<CommandResponse>((resolve) => {
      pending.set(id, resolve)
      socket.send(JSON.stringify({ id, method, params }))
    })
    if (response.type === 'success') return response.result
    throw new Error(`${method}: ${response.message}`)
  }
}

interface CommandResponse {
  readonly id: number
  readonly type: 'success' | 'error'
  readonly result?: unknown
  readonly message?: string
}
