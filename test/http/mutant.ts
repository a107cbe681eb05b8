// Runs the cases within this process against the app of another folder: what `npm run mutate:edge` starts for every
// mutant. Ends with 1 at the first case that fails.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { createApp } from '../../edge/src/app.ts'
import type { Host } from '../../edge/src/host.ts'
import { memoryStorage } from '../../edge/src/storage/memory.ts'
import { intercepted } from '../support/faults.ts'
import { cases } from './cases.ts'
import { check } from './check.ts'
import { fill, page } from './site.ts'

const folder = process.argv[2]!
const module = (await import(pathToFileURL(join(folder, 'app.ts')).href)) as { createApp: typeof createApp }
/** What is asked of the store, which costs. */
let operations: string[] = []
const storage = intercepted(memoryStorage(), (run, operation) => {
  operations.push(operation)
  return run()
})
const site = await fill(storage)
const host: Host = {
  storage,
  assets: async () => new Response(page, { headers: { 'Content-Type': 'text/html' } }),
  publishToken: null,
  allow: async () => true,
  log: () => {},
}
const app = module.createApp(() => host)

for (const each of cases) {
  const { subject, content } = site.subjects[each.about]
  const answer = await app.request(subject.path, { method: each.method, headers: each.headers(subject) })
  const reply = {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: Buffer.from(await answer.arrayBuffer()),
  }
  try {
    check(each, subject, content, reply)
  } catch (error) {
    console.log(`${each.section}: ${each.name} (${each.method} ${each.about}): ${(error as Error).message}`)
    if (process.argv[3] !== '--all') process.exit(1)
    process.exitCode = 1
  }
}
for (const [method, expected] of [
  ['GET', ['read']],
  ['HEAD', ['facts']],
] as const) {
  operations = []
  await app.request(site.subjects.model.subject.path, { method })
  if (operations.join() !== expected.join()) {
    console.log(`a plain ${method} took ${operations.join()} instead of ${expected.join()}`)
    process.exitCode = 1
  }
}
console.log(`${cases.length} cases`)
