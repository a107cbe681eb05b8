import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Every source file of the packages, tests left out, with what it imports of ours. */
function sources(): Map<string, string[]> {
  const files = ['shared', 'trainer', 'edge'].flatMap((name) =>
    readdirSync(join(root, name), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !/node_modules|dist/.test(path))
      .map((path) => join(name, path)),
  )
  return new Map(
    files.map((path) => {
      const text = readFileSync(join(root, path), 'utf8')
      const imports = [...text.matchAll(/^(?:import|export)[^'"]*? from '([^']+)'/gms)].map(
        ([, target]) => target!,
      )
      const ours = imports.flatMap((target) => {
        if (target.startsWith('.')) return [relative(root, resolve(root, dirname(path), target))]
        return target.startsWith('@ddpm/') ? [`${target.slice('@ddpm/'.length).split('/')[0]}/package`] : []
      })
      return [path, ours]
    }),
  )
}

test('arrows point down only: shared knows neither trainer nor edge, and these not each other', () => {
  const all = sources()
  assert.ok(all.size > 50, `${all.size} files`)
  for (const [path, imports] of all) {
    const own = path.split('/')[0]!
    for (const target of imports) {
      const other = target.split('/')[0]!
      assert.ok(other === own || (other === 'shared' && own !== 'shared'), `${path} imports ${target}`)
    }
  }
})

test('no file imports itself by way of others', () => {
  const all = sources()
  const done = new Set<string>()
  const visit = (path: string, above: readonly string[]) => {
    assert.ok(!above.includes(path), [...above, path].join(' → '))
    if (done.has(path)) return
    for (const next of all.get(path) ?? []) visit(next, [...above, path])
    done.add(path)
  }
  for (const path of all.keys()) visit(path, [])
})

test('shared runs anywhere: but for the command line’s helper it imports nothing of Node', () => {
  for (const path of sources().keys()) {
    if (!path.startsWith('shared/')) continue
    assert.doesNotMatch(readFileSync(join(root, path), 'utf8'), /from 'node:/, path)
  }
})

test('no command goes without --help, and package.json names them all', async () => {
  const scripts = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts as Record<
    string,
    string
  >
  const launcher = readFileSync(join(root, 'run.js'), 'utf8')
  for (const [name, script] of Object.entries(scripts)) {
    assert.equal(script, `node run.js ${name}`)
    const [, path] = new RegExp(`^ +'?${name}'?: '([^']+)'`, 'm').exec(launcher)!
    assert.match(
      readFileSync(join(root, path!), 'utf8'),
      /new Command\('npm (run )?\S+( --)?'\)\s+\.description\(/,
      name,
    )
  }
})
