// Used by `package.ts`: writes the type declarations of the npm package. They need no other package: declarations of Zod,
// from which the types of the manifest are inferred, are copied.
import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { samplerFolder } from './bundle.ts'

const edge = fileURLToPath(new URL('..', import.meta.url))

/** Packages whose types are in the package: name → their entry, relative to `types/`. */
const copiedTypes = {
  '@ddpm/shared': 'shared/src/index.d.ts',
  zod: 'zod/v4/classic/external.d.ts',
}

/**
 * Writes the types of the entry points and of all their imports into `types/`, with relative import paths.
 * @param entries names of source files in `edge/sampler`
 */
export async function emitTypes(folder: string, entries: readonly string[]): Promise<void> {
  const types = join(folder, 'types')
  await compile(types, entries)
  const zod = dirname(fileURLToPath(import.meta.resolve('zod')))
  for (const part of ['core', 'classic', 'locales']) {
    const isTypes = (path: string) => !/\.[a-z]+$/.test(path) || path.endsWith('.d.ts')
    await cp(join(zod, 'v4', part), join(types, 'zod/v4', part), { recursive: true, filter: isTypes })
  }
  await cp(join(zod, 'LICENSE'), join(types, 'zod/LICENSE'))
  const reached = new Set<string>()
  for (const name of entries) await rewrite(types, `edge/sampler/${name}.d.ts`, reached)
  for (const file of await readdir(types, { recursive: true })) {
    if (file.endsWith('.d.ts') && !reached.has(file)) await rm(join(types, file))
  }
}

/** Runs the TypeScript compiler. */
async function compile(types: string, entries: readonly string[]): Promise<void> {
  const compiler = fileURLToPath(new URL('../bin/tsc', import.meta.resolve('typescript')))
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
    files: entries.map((name) => join(samplerFolder, `${name}.ts`)),
  }
  // Inside the project, so that the compiler finds the types of Node.
  const path = join(edge, 'dist/package.tsconfig.json')
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(configuration))
  await promisify(execFile)(process.execPath, [compiler, '-p', path])
  await rm(path)
}

/** Replaces the import paths of a file, and of the files that it imports, by relative ones that end with ".js". */
async function rewrite(types: string, file: string, reached: Set<string>): Promise<void> {
  if (reached.has(file)) return
  reached.add(file)
  const path = join(types, file)
  const imported: string[] = []
  const text = (await readFile(path, 'utf8')).replaceAll(
    /(\bfrom |\bimport\(|\bimport )(['"])([^'"]+)\2/g,
    (statement, keyword, quote, specifier: string) => {
      const copied = copiedTypes[specifier as keyof typeof copiedTypes]
      if (!copied && !specifier.startsWith('.')) return statement
      const target = copied ?? join(dirname(file), specifier).replace(/(\.d)?\.(ts|js)$/, '.d.ts')
      imported.push(target)
      const short = relative(dirname(file), target).replace(/\.d\.ts$/, '.js')
      return `${keyword}${quote}${short.startsWith('.') ? short : `./${short}`}${quote}`
    },
  )
  await writeFile(path, text)
  for (const target of imported) await rewrite(types, target, reached)
}
