import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { assertNotLocked, lockName } from './lock.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-lock-'))
after(() => rmSync(folder, { recursive: true }))
const path = join(folder, lockName)

function lockedBy(holder: object | null, age = 0): void {
  writeFileSync(path, holder ? JSON.stringify(holder) : '')
  const then = Date.now() / 1000 - age
  utimesSync(path, then, then)
}

test('a lock of another machine is valid while it has heartbeats', () => {
  const holder = { pid: 1234, host: 'elsewhere', began: '5' }
  lockedBy(holder, 30)
  assert.throws(() => assertNotLocked(folder), /process 1234 on elsewhere/)
  lockedBy(holder, 3600)
  assertNotLocked(folder)
})

test('a lock of this machine is valid while its process exists, however old', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  await once(child, 'spawn')
  const holder = { pid: child.pid, host: hostname(), began: null }
  const otherProcess = { ...holder, began: '5' }
  if (process.platform === 'linux') {
    lockedBy(otherProcess)
    assertNotLocked(folder)
  } else {
    lockedBy(holder, 3600)
    assert.throws(() => assertNotLocked(folder), new RegExp(`process ${child.pid}\\.`))
  }
  child.kill('SIGKILL')
  await once(child, 'exit')
  lockedBy(holder)
  assertNotLocked(folder)
})

test('an empty lock is valid for a few seconds, then stale', () => {
  lockedBy(null)
  assert.throws(() => assertNotLocked(folder), /process unknown \(just started\)/)
  lockedBy(null, 60)
  assertNotLocked(folder)
})

test('only one of several concurrent processes takes over a stale lock', async () => {
  lockedBy({ pid: 2 ** 30, host: hostname(), began: '1' })
  const code = `
    const { lockRun } = await import(${JSON.stringify(new URL('lock.ts', import.meta.url).href)})
    try { lockRun(${JSON.stringify(folder)}); console.log('locked') } catch { console.log('rejected') }
    process.stdin.resume().on('end', () => process.exit())`
  const children = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code]),
  )
  const outputs = await Promise.all(
    children.map(async (child) => String((await once(child.stdout, 'data'))[0]).trim()),
  )
  for (const child of children) child.stdin.end()
  await Promise.all(children.map((child) => once(child, 'exit')))
  assert.deepEqual(outputs.sort(), ['locked', 'rejected', 'rejected', 'rejected'])
})
