import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { UserError } from '@ddpm/shared'

/** A contender's results for a block of steps. */
export interface Block {
  readonly losses: readonly number[]
  readonly milliseconds: readonly number[]
  /** Peak memory of the process so far. */
  readonly peakBytes: number
}

/** A process that trains. It prints its description, then a block as one JSON line for each number of steps it reads. */
export interface Contender {
  readonly name: string
  readonly description: string
  /** Trains for that many further steps. */
  run(steps: number): Promise<Block>
  /** Ends the process and waits until it has exited. */
  end(): Promise<void>
}

const running = new Set<ChildProcess>()

/** Kills every contender. */
export function killContenders(): void {
  for (const child of running) child.kill('SIGKILL')
}

/**
 * Starts a contender.
 * @throws UserError with its stderr if it exits before it has responded; also thrown by `run`
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
  // Writing to an exited process fails; the missing response reports it.
  child.stdin.on('error', () => {})

  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => {
    const { value, done } = await lines.next()
    if (done) throw new UserError(`${name} ended early: ${await closed}.\n${complaints}`.trimEnd())
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
