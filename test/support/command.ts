import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const runner = fileURLToPath(new URL('../../run.js', import.meta.url))

/** Exit code and output of a command. */
export interface Finished {
  status: number | null
  stdout: string
  stderr: string
}

/**
 * Runs a command like `npm run NAME -- ARGS`, without npm's own output.
 * @param args the name of the command and its arguments
 */
export async function command(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = spawn(process.execPath, [runner, ...args], { env: { ...process.env, ...env } })
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve)),
  ])
  return { status, stdout: stdout.join(''), stderr: stderr.join('') }
}
