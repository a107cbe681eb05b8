import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

/** A Firefox from the PATH, or null. */
export function findFirefox(env: NodeJS.ProcessEnv = process.env): string | null {
  const folders = (env['PATH'] ?? '').split(delimiter)
  const places = folders.flatMap((folder) => [join(folder, 'firefox-esr'), join(folder, 'firefox')])
  return places.find((path) => existsSync(path)) ?? null
}

/** A page in Firefox, driven by WebDriver BiDi: Playwright wants a Firefox of its own. */
export interface FirefoxPage {
  /** What a function in the page returns, as JSON; a promise is waited for. */
  evaluate<A, R>(action: (argument: A) => Promise<R>, argument: A): Promise<R>
  close(): Promise<void>
}

export async function openInFirefox(executable: string, url: string): Promise<FirefoxPage> {
  const profile = await mkdtemp(join(tmpdir(), 'ddpm-firefox-'))
  const flags = ['--headless', '--no-remote', '--remote-debugging-port', '0', '--profile', profile]
  const firefox = spawn(executable, flags, { stdio: ['ignore', 'ignore', 'pipe'] })
  const close = async () => {
    const gone = new Promise((resolve) => firefox.once('exit', resolve))
    firefox.kill()
    await gone
    await rm(profile, { recursive: true, force: true })
  }
  try {
    const send = await connect(`${await addressOf(firefox)}/session`)
    await send('session.new', { capabilities: {} })
    const { contexts } = (await send('browsingContext.getTree', {})) as { contexts: { context: string }[] }
    const context = contexts[0]!.context
    await send('browsingContext.navigate', { context, url, wait: 'complete' })
    return {
      async evaluate(action, argument) {
        const text = `(${action})(${JSON.stringify(argument)}).then(JSON.stringify)`
        const evaluated = { expression: text, target: { context }, awaitPromise: true }
        const answer = (await send('script.evaluate', evaluated)) as Evaluated
        if (answer.type === 'success') return JSON.parse(answer.result.value)
        throw new Error(answer.exceptionDetails.text)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

type Evaluated =
  | { readonly type: 'success'; readonly result: { readonly value: string } }
  | { readonly type: 'exception'; readonly exceptionDetails: { readonly text: string } }

/** Firefox says where it listens. */
function addressOf(firefox: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    firefox.stderr!.on('data', (chunk) => {
      said += chunk
      const [address] = /ws:\/\/[\w.:[\]]+/.exec(said) ?? []
      if (address) resolve(address)
    })
    firefox.once('exit', (code) => reject(new Error(`Firefox ended with ${code}: ${said}`)))
  })
}

async function connect(url: string): Promise<(method: string, params: object) => Promise<unknown>> {
  const socket = new WebSocket(url)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = () => reject(new Error(`Firefox does not answer at ${url}.`))
  })
  const waiting = new Map<number, (answer: Answer) => void>()
  socket.onmessage = ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer
    waiting.get(answer.id)?.(answer)
  }
  let sent = 0
  return async (method, params) => {
    const id = ++sent
    const answer = await new Promise<Answer>((resolve) => {
      waiting.set(id, resolve)
      socket.send(JSON.stringify({ id, method, params }))
    })
    if (answer.type === 'success') return answer.result
    throw new Error(`${method}: ${answer.message}`)
  }
}

interface Answer {
  readonly id: number
  readonly type: 'success' | 'error'
  readonly result?: unknown
  readonly message?: string
}
