import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { bundle, bundleSampler, bundleWorkers, samplerFolder, writeInto } from './bundle.ts'

const edge = fileURLToPath(new URL('..', import.meta.url))

/**
 * Builds the npm package of the sampler into a folder, ready for `npm pack`: the module with its workers and element,
 * the entry point for Node, the types, and package.json.
 */
export async function buildPackage(folder: string): Promise<void> {
  const write = writeInto(folder)
  await bundleSampler(write)
  await bundleWorkers(write, false)
  const external = ['onnxruntime-web', 'zod']
  await bundle(write, { entryPoints: { node: join(samplerFolder, 'node.ts') }, platform: 'node', external })
  await emitTypes(folder)
  const {
    dependencies,
    private: _,
    ...source
  } = JSON.parse(await readFile(join(samplerFolder, 'package.json'), 'utf8'))
  const packageJson = {
    ...source,
    exports: {
      '.': { types: './types/edge/sampler/browser.d.ts', default: './sampler.js' },
      './element': { types: './types/edge/sampler/element.d.ts', default: './diffusion-canvas.js' },
      './node': { types: './types/edge/sampler/node.d.ts', default: './node.js' },
    },
    sideEffects: ['./diffusion-canvas.js'],
    dependencies: Object.fromEntries(external.map((name) => [name, dependencies[name]])),
  }
  await write('package.json', Buffer.from(`${JSON.stringify(packageJson, null, 2)}\n`))
  await write('README.md', await readFile(join(samplerFolder, 'README.md')))
  await write('LICENSE', await readFile(join(edge, '../LICENSE')))
}

/** Writes the types of the three entry points and of all their imports, with relative import paths. */
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
      // Resolved as a path, so that the compiler also writes the types of @ddpm/shared.
      paths: { '@ddpm/shared': [join(edge, '../shared/src/index.ts')] },
    },
    include: [],
    files: entries,
  }
  // Inside the project, so that the compiler finds the types of Node.
  const path = join(edge, 'dist/package.tsconfig.json')
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(configuration))
  await promisify(execFile)(process.execPath, [compiler, '-p', path])
  await rm(path)
  for (const file of await readdir(types, { recursive: true })) {
    if (!file.endsWith('.d.ts')) continue
    const text = await readFile(join(types, file), 'utf8')
    const shared = relative(dirname(join(types, file)), join(types, 'shared/src/index.js'))
    const relativeText = text
      .replaceAll("'@ddpm/shared'", `'${shared.startsWith('.') ? shared : `./${shared}`}'`)
      .replaceAll(/(['"]\.{1,2}\/[^'"]+)\.ts(['"])/g, '$1.js$2')
    await writeFile(join(types, file), relativeText)
  }
}
