import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { portNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { listCheckpoints } from '../run/checkpoint.ts'
import { openCheckpoint } from '../run/run.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = join('runs', 'shapes')
/** The trained models that come with the project. */
const shipped = join('edge', 'models')

const command = new Command('npm start --')
  .description(
    'The whole way, once: serves the page with the models that come with the project, trains one on the built-in shapes ' +
      'meanwhile, exports it and publishes it there.',
  )
  .option('--port <n>', 'of the page', portNumber, 8787)
  .action(main)

async function main({ port }: { port: number }): Promise<void> {
  process.chdir(root)
  // Ctrl+C reaches the commands that are running, which save and end; their exit code ends this one.
  process.on('SIGINT', () => {})

  const models = readdirSync(shipped, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  for (const { name } of models) await run('publish', join(shipped, name))
  const page = await serve(port)

  const begun = existsSync(join(folder, 'config.json'))
  if (!begun) await run('train')
  else if (!isTrained()) await run('train', '--resume', folder)
  else console.log(`${folder} is trained already; remove it to train again.`)

  if (!isExported()) {
    const about = ['--description', 'Coloured figures on paper.', '--licence', 'CC0-1.0']
    await run('export', folder, '--name', 'local/shapes', ...about)
  }
  await run('publish', folder)
  console.log(`\nYour own model is on the page: ${page.url}/?model=local/shapes. Ctrl+C stops.`)
  process.exit(await page.ended)
}

/** Runs one of the project's commands as a person would; ends this one where it fails. */
async function run(name: string, ...args: string[]): Promise<void> {
  const code = await endOf(begin(name, args, 'inherit'))
  if (code !== 0) process.exit(code)
}

/** Serves the page while other commands go on. Of what it says, this terminal gets what comes before it is ready. */
async function serve(port: number): Promise<{ url: string; ended: Promise<number> }> {
  const child = begin('dev', ['--port', String(port)], 'pipe')
  const ended = endOf(child)
  const lines = createInterface(child.stdout!)
  const url = await new Promise<string | null>((resolve) => {
    lines.on('line', (line) => {
      const found = /^Serving (\S+)/.exec(line)
      if (found) resolve(found[1]!)
    })
    ended.then(() => resolve(null))
  })
  if (url === null) process.exit(await ended)
  console.log(`The page is at ${url}.`)
  return { url, ended }
}

function begin(name: string, args: string[], stdout: 'inherit' | 'pipe'): ChildProcess {
  console.log(`\n› npm run ${name}${args.length > 0 ? ` -- ${args.join(' ')}` : ''}`)
  const child = spawn(process.execPath, [join(root, 'run.js'), name, ...args], {
    cwd: root,
    stdio: ['inherit', stdout, 'inherit'],
  })
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  process.on('exit', () => child.kill())
  return child
}

function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)))
}

function isTrained(): boolean {
  if (listCheckpoints(folder).length === 0) return false
  const { run: opened, checkpoint } = openCheckpoint(folder)
  return checkpoint.progress.step >= opened.config.recipe.steps
}

/** Whether there is an export at least as new as the latest checkpoint. */
function isExported(): boolean {
  const manifest = join(folder, 'export', 'manifest.json')
  return (
    existsSync(manifest) && statSync(manifest).mtimeMs >= statSync(listCheckpoints(folder).at(-1)!).mtimeMs
  )
}

await runCommand(command)
