// Checks which folders may import which, and other rules for the folders. CONTRIBUTING.md explains the rules.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * The layers of each package, from the lowest to the highest. A file may import only from its own folder and from folders
 * that precede it in the list.
 */
const layers: Readonly<Record<string, readonly string[]>> = {
  'shared/src': [
    'base',
    'random',
    'diffusion',
    'planning',
    'sampling',
    'manifest',
    'generate',
    '',
    'cli',
    'dom',
  ],
  'trainer/src': [
    'support',
    'setup',
    'algebra',
    'network',
    'objective',
    'step',
    'compile/onnx/emit',
    'compile/onnx/nchwc',
    'compile/onnx',
    'compile/tfjs',
    'engines',
    'image',
    'data/dataset',
    'data/folder',
    'data/shapes',
    'data/faces',
    'data',
    'run',
    'training',
    'inference',
    'export',
    'evaluation/metrics',
    'evaluation/inputs',
    'evaluation/features',
    'evaluation',
    'dashboard',
    'dashboard/client',
    'commands/terminal',
    'commands/train',
    'commands/evaluate',
    'commands',
  ],
  edge: [
    'server/storage',
    'server/registry',
    'server/http',
    'server/routes',
    'server',
    'sampler/base',
    'sampler/download',
    'sampler/gpu',
    'sampler/model',
    'sampler/worker',
    'sampler',
    'studio/ui',
    'studio/canvas',
    'studio/settings',
    'studio/generation',
    'studio/explain/laboratory',
    'studio/explain',
    'studio/studio',
    'studio',
    'build',
    'commands/hosting',
    'commands/publishing',
    'commands',
  ],
}

interface Source {
  readonly path: string
  readonly text: string
  /** Paths of the project's files that it imports. */
  readonly imports: readonly string[]
}

/** Reads every source file of a folder, without tests. */
function readSources(folder: string): Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.test|\.d)\.ts$/.test(name) && !/node_modules|(^|\/)dist\//.test(name))
    .map((name) => {
      const path = join(folder, name)
      const text = readFileSync(join(root, path), 'utf8')
      const specifiers = text.matchAll(/(?:^(?:import|export)\b[^'"]*?from |\bimport\()\s*['"]([^'"]+)['"]/gm)
      const imports = [...specifiers].flatMap(([, specifier]) => {
        if (specifier!.startsWith('.')) return [relative(root, resolve(root, dirname(path), specifier!))]
        if (specifier!.startsWith('@ddpm/')) return [`${specifier!.split('/')[1]}/package`]
        return specifier!.startsWith('ddpm-sampler') ? ['edge/sampler/browser.ts'] : []
      })
      return { path, text, imports }
    })
}

const sources = ['shared', 'trainer', 'edge'].flatMap(readSources)

suite('architecture', () => {
  test('shared imports neither trainer nor edge, and trainer and edge do not import each other', () => {
    assert.ok(sources.length > 200, `${sources.length} files`)
    for (const { path, imports } of sources) {
      const own = path.split('/')[0]!
      for (const target of imports) {
        const other = target.split('/')[0]!
        assert.ok(other === own || (other === 'shared' && own !== 'shared'), `${path} imports ${target}`)
      }
    }
  })

  for (const [folder, order] of Object.entries(layers)) {
    test(`imports between the folders of ${folder} point to lower layers`, () => {
      const layerOf = (path: string) => order.indexOf(dirname(relative(folder, path)).replace(/^\.$/, ''))
      for (const { path, imports } of sources.filter(({ path }) => path.startsWith(`${folder}/`))) {
        const layer = layerOf(path)
        assert.ok(layer >= 0, `the folder of ${path} is in no layer: add it to the list in this test`)
        for (const target of imports.filter((target) => target.startsWith(`${folder}/`))) {
          assert.ok(layerOf(target) <= layer, `${path} imports ${target}, which is in a higher layer`)
        }
      }
    })
  }

  test('there are no import cycles', () => {
    const byPath = new Map(sources.map((source) => [source.path, source]))
    const done = new Set<string>()
    const visit = (path: string, importers: readonly string[]) => {
      assert.ok(!importers.includes(path), [...importers, path].join(' → '))
      if (done.has(path)) return
      for (const target of byPath.get(path)?.imports ?? []) visit(target, [...importers, path])
      done.add(path)
    }
    for (const path of byPath.keys()) visit(path, [])
  })

  test('no folder has more than 15 files, subfolders not counted', () => {
    const counts = new Map<string, number>()
    for (const { path } of sources) counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1)
    for (const [folder, count] of counts) assert.ok(count <= 15, `${folder} has ${count} files`)
  })

  test('shared imports nothing from Node', () => {
    for (const { path, text } of sources) {
      if (path.startsWith('shared/')) assert.doesNotMatch(text, /from 'node:/, path)
    }
  })

  test("only the folder nchwc uses onnxruntime's private blocked layout", () => {
    for (const { path, text } of sources) {
      if (!path.startsWith('trainer/src/compile/onnx/nchwc/')) {
        assert.doesNotMatch(text, /com\.microsoft\.nchwc|ReorderInput|ReorderOutput/, path)
      }
    }
  })

  test('every command has a description and is in package.json', () => {
    const scripts: Record<string, string> = JSON.parse(
      readFileSync(join(root, 'package.json'), 'utf8'),
    ).scripts
    const launcher = readFileSync(join(root, 'run.js'), 'utf8')
    for (const [name, script] of Object.entries(scripts)) {
      assert.equal(script, `node run.js ${name}`)
      const [, path] = new RegExp(`^ +'?${name}'?: '([^']+)'`, 'm').exec(launcher)!
      const text = readFileSync(join(root, path!), 'utf8')
      assert.match(text, /new Command\('npm (run )?\S+( --)?'\)\s*\.description\(/, name)
    }
  })
})
