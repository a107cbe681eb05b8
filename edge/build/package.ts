import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { bundle, bundleModules, bundleWorkers, putInto, samplerFolder } from './bundle.ts'

const edge = fileURLToPath(new URL('..', import.meta.url))

/**
 * The folder of an npm package: the sampler module with its workers and element, the entry for Node, types, and what a
 * package.json says. `npm pack` makes a tarball of it.
 */
export async function buildPackage(folder: string): Promise<void> {
  const put = putInto(folder)
  await bundleModules(put)
  await bundleWorkers(put, false)
  const external = ['onnxruntime-web', 'zod']
  await bundle(put, { entryPoints: { node: join(samplerFolder, 'node.ts') }, platform: 'node', external })
  await emitTypes(folder)
  const {
    dependencies,
    private: _,
    ...source
  } = JSON.parse(await readFile(join(samplerFolder, 'package.json'), 'utf8'))
  const about = {
    ...source,
    exports: {
      '.': { types: './types/edge/sampler/browser.d.ts', default: './sampler.js' },
      './element': { types: './types/edge/sampler/element.d.ts', default: './diffusion-canvas.js' },
      './node': { types: './types/edge/sampler/node.d.ts', default: './node.js' },
    },
    sideEffects: ['./diffusion-canvas.js'],
    dependencies: Object.fromEntries(external.map((name) => [name, dependencies[name]])),
  }
  await put('package.json', Buffer.from(`${JSON.stringify(about, null, 2)}\n`))
  await put('README.md', await readFile(join(samplerFolder, 'README.md')))
  await put('LICENSE', await readFile(join(edge, '../LICENSE')))
}

/** The types of the three entries and of all they name, with addresses that compilers elsewhere resolve. */
async function emitTypes(folder: string): Promise<void> {
  const types = join(folder, 'types')
  const compiler = fileURLToPath(new URL('../bin/tsc', import.meta.resolve('typescript')))
  const entries = ['browser', 'element', 'node'].map((name) => join(samplerFolder, `${name}.ts`))
  const configuration = {
    extends: join(samplerFolder, 'tsconfig.json'),
    compilerOptions: {
      composite: false,
      declaration: true,
      tsBuildInfoFile: null,
      rootDir: join(edge, '..'),
      outDir: types,
      types: ['node', '@webgpu/types'],
      // By its path it is ours, and its types are written too.
      paths: { '@ddpm/shared': [join(edge, '../shared/src/index.ts')] },
    },
    include: [],
    files: entries,
  }
  // Inside the project, where the types of Node are found.
  const path = join(edge, 'dist/package.tsconfig.json')
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(configuration))
  await promisify(execFile)(process.execPath, [compiler, '-p', path])
  await rm(path)
  for (const file of await readdir(types, { recursive: true })) {
    if (!file.endsWith('.d.ts')) continue
    const text = await readFile(join(types, file), 'utf8')
    const shared = relative(dirname(join(types, file)), join(types, 'shared/src/index.js'))
    const resolved = text
      .replaceAll("'@ddpm/shared'", `'${shared.startsWith('.') ? shared : `./${shared}`}'`)
      .replaceAll(/(['"]\.{1,2}\/[^'"]+)\.ts(['"])/g, '$1.js$2')
    await writeFile(join(types, file), resolved)
  }
}
