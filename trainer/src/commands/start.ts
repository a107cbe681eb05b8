import { spawn } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { portNumber, runCommand } from '@ddpm/shared/command'
import { Command } from 'commander'
import { listCheckpoints } from '../checkpoint.ts'
import { openCheckpoint } from '../run.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = join('runs', 'shapes')

const command = new Command('npm start --')
  .description('Trains on the built-in shapes, exports, publishes locally and serves: the whole way, once.')
  .option('--port <n>', 'of the page', portNumber, 8787)
  .action(main)

/** Runs one of the project's commands as a person would; ends this one where it fails. */
function run(name: string, ...args: string[]): Promise<void> {
  console.log(`\n› npm run ${name}${args.length > 0 ? ` -- ${args.join(' ')}` : ''}`)
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'run.js'), name, ...args], {
      cwd: root,
      stdio: 'inherit',
    })
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
    child.on('exit', (code) => (code === 0 ? resolve() : process.exit(code ?? 1)))
  })
}

async function main({ port }: { port: number }): Promise<void> {
  process.chdir(root)
  // Ctrl+C reaches the command that is running, which saves and ends; its exit code ends this one.
  process.on('SIGINT', () => {})

  const begun = existsSync(join(folder, 'config.json'))
  if (!begun) await run('train')
  else if (!isTrained()) await run('train', '--resume', folder)
  else console.log(`${folder} is trained already; remove it to train again.`)

  if (!isExported()) {
    const about = ['--description', 'Coloured figures on paper.', '--licence', 'CC0-1.0']
    await run('export', folder, '--name', 'local/shapes', ...about)
  }
  await run('publish', folder)
  await run('dev', '--port', String(port))
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
