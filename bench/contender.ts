import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { UserError } from '@ddpm/shared'

/** The results of a block of steps. */
export interface Block {
  readonly losses: readonly number[]
  readonly milliseconds: readonly number[]
  /** Peak memory of the process so far. */
  readonly peakBytes: number
}

/** A line of JSON that a contender reads: train some steps, or evaluate the network some times. */
export interface Request {
  readonly steps?: number
  /** Number of images of each evaluation. */
  readonly images?: number
  readonly times?: number
}

/**
 * A process that trains. It prints its description, then answers each `Request` with a line of JSON: a `Block`, or the
 * milliseconds of each evaluation.
 */
export interface Contender {
  readonly name: string
  readonly description: string
  /** Trains for further steps. */
  run(steps: number): Promise<Block>
  /** Evaluates the network on some images. Returns the milliseconds of each time. */
  predict(images: number, times: number): Promise<number[]>
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
 * @throws UserError with the output of stderr if the process exits before it has responded. `run` throws it too.
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
    child.on('close', (code, signal) => resolve(`its process ended with ${signal ?? `exit code ${code}`}`))
  }).finally(() => running.delete(child))
  let errorOutput = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (errorOutput += text))
  // Writing to an exited process fails. `readResponse` reports that the process has exited.
  child.stdin.on('error', () => {})

  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const readResponse = async () => {
    const { value, done } = await lines.next()
    if (done) throw new UserError(`Cannot measure ${name}: ${await closed}.\n${errorOutput}`.trimEnd())
    return JSON.parse(value)
  }
  return {
    name,
    description: await readResponse(),
    async run(steps) {
      child.stdin.write(`${JSON.stringify({ steps } satisfies Request)}\n`)
      return readResponse()
    },
    async predict(images, times) {
      child.stdin.write(`${JSON.stringify({ images, times } satisfies Request)}\n`)
      return readResponse()
    },
    async end() {
      child.stdin.end()
      await closed
    },
  }
}
