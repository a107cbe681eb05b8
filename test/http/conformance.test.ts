// All HTTP cases on both hosts: real workerd with R2, and Node with a folder.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cases } from './cases/index.ts'
import { check } from './check.ts'
import { onEveryHost, request } from './hosts.ts'

test('at least 120 cases, each with its source, without duplicates', () => {
  assert.ok(cases.length >= 120, `${cases.length} cases`)
  for (const { section } of cases)
    assert.match(section, /^((RFC \d+, )?\d+(\.\d+)*(, \d)?|(Fetch|CSP3), [a-z-]+)$/)
  const names = cases.map(({ section, name, about, method }) => [section, name, about, method].join(' '))
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  )
})

onEveryHost('cases', (running) => {
  for (const each of cases) {
    test(`${each.section}: ${each.name} (${each.method} ${each.about})`, async () => {
      const { host, site } = running
      const { subject, content } = site.subjects[each.about]
      const reply = await request(host.url, subject.path, each.headers(subject), each.method)
      check(each, subject, content, reply)
    })
  }
})
