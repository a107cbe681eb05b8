import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { findFreePort } from '../../edge/commands/hosting/workerd.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { readText } from '../../edge/server/storage/storage.ts'
import { writeIndex } from './many-models.ts'
import type { Contender } from './servers.ts'

/** Path of the program. The package has no types. */
const workerd: string = createRequire(import.meta.url)('workerd').default

/** Starts workerd itself with the app over a store in memory that has `models` models. */
export async function startBareWorkerd(parent: string, models: number): Promise<Contender> {
  const folder = join(parent, 'bare')
  await mkdir(folder)
  const storage = memoryStorage()
  await writeIndex(storage, models)
  await writeFile(join(folder, 'index.tsv'), (await readText(storage, keys.index))!.text)
  await build({
    entryPoints: { worker: fileURLToPath(new URL('bare-worker.ts', import.meta.url)) },
    bundle: true,
    format: 'esm',
    target: 'es2023',
    conditions: ['workerd', 'worker'],
    external: ['node:*'],
    outdir: folder,
  })
  const port = await findFreePort(0, 'localhost')
  await writeFile(
    join(folder, 'config.capnp'),
    `using Workerd = import "/workerd/workerd.capnp";
    const config :Workerd.Config = (
      services = [(name = "main", worker = (
        modules = [(name = "worker.js", esModule = embed "worker.js")],
        compatibilityDate = "2026-11-17",
        bindings = [(name = "INDEX", text = embed "index.tsv")]))],
      sockets = [(name = "http", address = "localhost:${port}", http = (), service = "main")]);`,
  )
  const child = spawn(workerd, ['serve', join(folder, 'config.capnp')], { stdio: 'inherit' })
  const ended = once(child, 'close')
  const url = `http://localhost:${port}`
  while (
    child.exitCode === null &&
    !(await fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    ))
  );
  return {
    name: 'workerd, store in memory',
    url,
    pid: child.pid!,
    servesModels: true,
    manifestPath: '/api/models/ada/model-00000',
    async stop() {
      child.kill()
      await ended
    },
  }
}
