// One suite, two hosts: real workerd with R2, and Node with a folder.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { cases } from './cases/index.ts'
import { check } from './check.ts'
import { ask, hosts, type RunningHost } from './hosts.ts'
import { fill, type Site } from './site.ts'

test('there are at least 120 cases, each with its source, none twice', () => {
  assert.ok(cases.length >= 120, `${cases.length} cases`)
  for (const { section } of cases)
    assert.match(section, /^((RFC \d+, )?\d+(\.\d+)*(, \d)?|(Fetch|CSP3), [a-z-]+)$/)
  const names = cases.map(({ section, name, about, method }) => [section, name, about, method].join(' '))
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  )
})

for (const [name, start] of Object.entries(hosts)) {
  describe(name, () => {
    let host: RunningHost
    let site: Site
    before(async () => {
      host = await start()
      site = await fill(host.storage)
    })
    after(() => host?.stop())

    for (const each of cases) {
      test(`${each.section}: ${each.name} (${each.method} ${each.about})`, async () => {
        const { subject, content } = site.subjects[each.about]
        const reply = await ask(host.url, subject.path, each.headers(subject), each.method)
        check(each, subject, content, reply)
      })
    }
  })
}
