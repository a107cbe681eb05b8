import { execFile, spawn } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Host } from '../support/file-host.ts'

const run = promisify(execFile)
const projects = fileURLToPath(new URL('projects', import.meta.url))

const env = {
  ...process.env,
  // The frameworks' programs run with the project's Node, too.
  PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH']}`,
  NEXT_TELEMETRY_DISABLED: '1',
  CI: '1',
}

/**
 * Copies a project, installs it with the packed sampler, and builds it.
 * @param parent folder to copy it into
 * @returns its folder
 */
export async function buildProject(name: string, parent: string, tarball: string): Promise<string> {
  const folder = join(parent, name)
  await cp(join(projects, name), folder, { recursive: true })
  await cp(tarball, join(folder, 'sampler.tgz'))
  await npm(folder, 'install', '--no-audit', '--no-fund', '--loglevel=error', './sampler.tgz')
  await npm(folder, 'run', 'build')
  return folder
}

/** Runs `npm publish --dry-run`. It uploads nothing. */
export function publishDryRun(tarball: string): Promise<{ stdout: string; stderr: string }> {
  return run('npm', ['publish', '--dry-run', tarball], { env, shell: process.platform === 'win32' })
}

async function npm(cwd: string, ...args: string[]): Promise<void> {
  const options = { cwd, env, maxBuffer: 2 ** 26, shell: process.platform === 'win32' }
  await run('npm', args, options).catch(({ stdout, stderr }) => {
    throw new Error(`npm ${args.join(' ')} failed in ${cwd}:\n${stdout}\n${stderr}`)
  })
}

/**
 * Starts a program of a project that serves it, and waits until it responds.
 * @param args arguments for Node; `PORT` stands for the port
 */
export async function serveProject(cwd: string, ...args: string[]): Promise<Host> {
  const port = String(await freePort())
  const child = spawn(
    process.execPath,
    args.map((arg) => (arg === 'PORT' ? port : arg)),
    { cwd, env: { ...env, PORT: port, HOST: 'localhost' }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const output: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => output.push(text))
  }
  const url = `http://localhost:${port}/`
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const close = () => {
    child.kill()
    return exited
  }
  for (let attempt = 0; attempt < 240; attempt++) {
    if (child.exitCode !== null) break
    if (
      await fetch(url)
        .then(({ ok }) => ok)
        .catch(() => false)
    )
      return { url, close }
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  await close()
  throw new Error(`${args.join(' ')} does not respond at ${url}:\n${output.join('')}`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, 'localhost', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
