import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parsePort, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { listCheckpoints } from '../run/checkpoint.ts'
import { openCheckpoint } from '../run/run.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = join('runs', 'shapes')
/** Trained models included in the repository. */
const includedModels = join('edge', 'models')

/** The running commands. */
const children = new Set<ChildProcess>()
/** Whether a signal was received. */
let stopped = false

const command = new Command('npm start --')
  .description(
    'Runs the whole pipeline once: serves the studio with the included models, trains a model on the built-in shapes, ' +
      'exports it and publishes it in the studio.',
  )
  .option('--port <n>', 'port of the studio', parsePort, 8787)
  .action(main)

async function main({ port }: { port: number }): Promise<void> {
  process.chdir(root)
  // The commands save and exit. This process then exits with their code.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      stopped = true
      for (const child of children) child.kill(signal)
    })

  const models = readdirSync(includedModels, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  for (const { name } of models) await run('publish', join(includedModels, name))
  const page = await serve(port)

  const hasRun = existsSync(join(folder, 'config.json'))
  if (!hasRun) await run('train')
  else if (!isTrained()) await run('train', '--resume', folder)
  else console.log(`${folder} is already trained. Remove the folder to train again.`)

  if (!isExported()) {
    const metadata = ['--description', 'Coloured figures on paper.', '--licence', 'CC0-1.0']
    await run('export', folder, '--name', 'local/shapes', ...metadata)
  }
  await run('publish', folder)
  console.log(`\nYour model is on the page: ${page.url}/?model=local/shapes. Press Ctrl+C to stop.`)
  process.exit(await page.exited)
}

/** Runs a command of the project. Exits with its code if it fails. */
async function run(name: string, ...args: string[]): Promise<void> {
  const code = await exitCodeOf(startCommand(name, args, 'inherit'))
  if (code === 0) return
  if (stopped) console.log('To resume and to publish the model afterwards: npm start')
  process.exit(code)
}

/** Starts the server and waits until it is ready. Its standard output is not shown. */
async function serve(port: number): Promise<{ url: string; exited: Promise<number> }> {
  const child = startCommand('dev', ['--port', String(port)], 'pipe')
  const exited = exitCodeOf(child)
  const lines = createInterface(child.stdout!)
  const url = await new Promise<string | null>((resolve) => {
    lines.on('line', (line) => {
      const match = /^Serving (\S+)/.exec(line)
      if (match) resolve(match[1]!)
    })
    exited.then(() => resolve(null))
  })
  if (url === null) process.exit(await exited)
  console.log(`The page is at ${url}.`)
  return { url, exited }
}

function startCommand(name: string, args: string[], stdout: 'inherit' | 'pipe'): ChildProcess {
  console.log(`\n› npm run ${name}${args.length > 0 ? ` -- ${args.join(' ')}` : ''}`)
  const child = spawn(process.execPath, [join(root, 'run.js'), name, ...args], {
    cwd: root,
    stdio: ['inherit', stdout, 'inherit'],
  })
  children.add(child)
  child.on('exit', () => children.delete(child))
  process.on('exit', () => child.kill())
  return child
}

function exitCodeOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)))
}

function isTrained(): boolean {
  if (listCheckpoints(folder).length === 0) return false
  const { run: opened, checkpoint } = openCheckpoint(folder)
  return checkpoint.progress.step >= opened.config.recipe.steps
}

/** Returns whether the export is at least as new as the latest checkpoint. */
function isExported(): boolean {
  const manifest = join(folder, 'export', 'manifest.json')
  return (
    existsSync(manifest) && statSync(manifest).mtimeMs >= statSync(listCheckpoints(folder).at(-1)!).mtimeMs
  )
}

await runCommand(command)
