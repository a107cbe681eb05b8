import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../edge/commands/hosting/workerd.ts'

let folder: string
let child: ChildProcess | undefined

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-dev-'))
})

after(async () => {
  child?.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

/** Starts `npm run dev` and waits until it is ready. Returns its address and its output. */
async function start(): Promise<{ dev: ChildProcess; url: string; lines: string[] }> {
  const port = await findFreePort(0, 'localhost')
  const args = ['--port', String(port), '--persist-to', join(folder, 'state')]
  const dev = spawn(
    process.execPath,
    [fileURLToPath(new URL('../../edge/commands/dev.ts', import.meta.url)), ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  child = dev
  const lines: string[] = []
  for await (const line of createInterface(dev.stdout)) {
    lines.push(line)
    if (line === 'Press Ctrl+C to stop.') break
  }
  const url = `http://localhost:${port}`
  assert.equal(lines[0], `Serving ${url}`)
  return { dev, url, lines }
}

/** Waits until the port is free. */
async function waitUntilFree(url: string): Promise<void> {
  const port = Number(new URL(url).port)
  for (;;) {
    const free = await findFreePort(port, 'localhost').then(
      () => true,
      () => false,
    )
    if (free) return
    await setTimeout(100)
  }
}

test('dev serves the page, prints how to publish a model, and stops on SIGINT', {
  timeout: 120_000,
}, async () => {
  const { dev, url, lines } = await start()
  assert.match(lines.join('\n'), /No model is published yet[\s\S]*npm run train[\s\S]*npm run publish/)
  const page = await fetch(url)
  assert.equal(page.status, 200)
  assert.match(await page.text(), /<script[^>]* src="\/?page\.js"/)
  dev.kill('SIGINT')
  assert.deepEqual(await once(dev, 'exit'), [0, null])
  await waitUntilFree(url)
})

test('workerd stops after dev was killed', {
  timeout: 120_000,
  skip: process.platform === 'win32',
}, async () => {
  const { dev, url } = await start()
  dev.kill('SIGKILL')
  await once(dev, 'exit')
  await waitUntilFree(url)
})
