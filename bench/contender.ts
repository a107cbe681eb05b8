import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { UserError } from '@ddpm/shared'

/** What a contender tells of the steps that it was asked for. */
export interface Block {
  readonly losses: readonly number[]
  readonly milliseconds: readonly number[]
  /** Of the process, so far. */
  readonly peakBytes: number
}

/** A process that trains: says what it is, then answers every number of steps with a block, one line of JSON each. */
export interface Contender {
  readonly name: string
  readonly description: string
  /** Trains on for that many steps. */
  run(steps: number): Promise<Block>
  /** Ends the process; done when it is gone. */
  end(): Promise<void>
}

const running = new Set<ChildProcess>()

/** Ends every contender at once, whatever it is doing. */
export function killContenders(): void {
  for (const child of running) child.kill('SIGKILL')
}

/**
 * Starts a contender.
 * @throws UserError with what it wrote to stderr, now or from `run`, where it ends before it has answered
 */
export async function startContender(
  name: string,
  [program, ...args]: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
): Promise<Contender> {
  const child = spawn(program, args, { env: { ...process.env, ...env } })
  running.add(child)
  const closed = new Promise<string>((resolve) => {
    child.on('error', ({ message }) => resolve(message))
    child.on('close', (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`))
  }).finally(() => running.delete(child))
  let complaints = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (complaints += text))
  // A process that is gone cannot be written to; that it is gone shows in its answers.
  child.stdin.on('error', () => {})

  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => {
    const { value, done } = await lines.next()
    if (done) throw new UserError(`${name} did not finish: ${await closed}.\n${complaints}`.trimEnd())
    return JSON.parse(value)
  }
  return {
    name,
    description: await answer(),
    async run(steps) {
      child.stdin.write(`${steps}\n`)
      return answer()
    },
    async end() {
      child.stdin.end()
      await closed
    },
  }
}
