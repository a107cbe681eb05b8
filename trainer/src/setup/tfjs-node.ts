import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { UserError } from '@ddpm/shared'
import { version_core } from '@tensorflow/tfjs-core'
import { tensorflow, tensorflowCuda } from './environments.ts'
import { installPart, isInstalled, partFolder, run } from './parts.ts'
import { installEnvironment, installedPython, type PythonEnvironment } from './python.ts'

// Builds the binding of @tensorflow/tfjs-node with the libraries and headers of TensorFlow's Python package. The installer
// of the npm package downloads libtensorflow 2.9 instead, whose CUDA version is 11.2. TensorFlow's C API is stable, so the
// unchanged sources of the binding compile.

/** A package of TensorFlow.js for Node, and the Python environment that has its libraries. */
export interface NodePackage {
  /** Name of the part. */
  readonly part: string
  readonly npmName: string
  readonly environment: PythonEnvironment
}

export const tfjsNode: NodePackage = {
  part: 'tfjs',
  npmName: '@tensorflow/tfjs-node',
  environment: tensorflow,
}
export const tfjsNodeGpu: NodePackage = {
  part: 'tfjs-cuda',
  npmName: '@tensorflow/tfjs-node-gpu',
  environment: tensorflowCuda,
}

/** Version of Node's C headers (Node-API). */
const headersVersion = '1.9.0'
/** Version of Node-API whose binding the npm package loads. */
const napiVersion = 8

/** Returns a function that loads modules of an installed part, or null if it is not installed. */
export function installedModules({ part }: NodePackage): NodeJS.Require | null {
  return isInstalled(part) ? createRequire(join(partFolder(part), 'package.json')) : null
}

/**
 * Installs a package of TensorFlow.js for Node, and TensorFlow if it is missing.
 * @param python as for `installEnvironment`
 * @throws UserError if the system, the compiler or TensorFlow is unsuitable, or npm fails
 */
export async function installTfjsNode(nodePackage: NodePackage, python?: string): Promise<void> {
  const { part, npmName, environment } = nodePackage
  if (process.platform !== 'linux')
    throw new UserError(
      `Cannot build ${npmName} on ${process.platform}: this is supported on Linux only. Install the package with its own ` +
        `libraries: npm install --no-save ${npmName}@${version_core}`,
    )
  const compiler = process.env['CXX'] ?? 'g++'
  if (spawnSync(compiler, ['--version']).status !== 0)
    throw new UserError(
      `Cannot run the C++ compiler ${compiler}. Install it, for example with apt-get install g++, or set CXX.`,
    )
  if (installedPython(environment) === null) await installEnvironment(environment, python)
  await installPart(part, { download: 70e6, disk: 400e6 }, async (folder) => {
    await installPackages(folder, npmName)
    await compile(compiler, folder, nodePackage)
    await tryBinding(folder, npmName)
  })
}

async function installPackages(folder: string, npmName: string): Promise<void> {
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  const { succeeded } = await run('npm', [
    ...['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    ...[`${npmName}@${version_core}`, `node-api-headers@${headersVersion}`],
  ])
  if (!succeeded) throw new UserError(`npm could not install ${npmName}. See its messages above.`)
  // Replaced by the trainer's copy: the backend would otherwise be registered in a second one.
  const core = join(folder, 'node_modules/@tensorflow/tfjs-core')
  rmSync(core, { recursive: true })
  const own = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-core/package.json'))
  symlinkSync(relative(dirname(core), own), core)
}

async function compile(
  compiler: string,
  folder: string,
  { npmName, environment }: NodePackage,
): Promise<void> {
  const packageFolder = join(folder, 'node_modules', npmName)
  const target = join(packageFolder, `lib/napi-v${napiVersion}`)
  mkdirSync(target, { recursive: true })
  const libraries = tensorflowFolder(environment)
  console.log('Compiling the binding …')
  const { succeeded } = await run(compiler, [
    ...['-shared', '-fPIC', '-O2', '-std=c++17', `-DNAPI_VERSION=${napiVersion}`],
    ...['-I', join(folder, 'node_modules/node-api-headers/include')],
    ...['-I', packageFolder, '-I', join(libraries, 'include')],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(packageFolder, 'binding', name)),
    ...['-L', libraries, '-l:libtensorflow_cc.so.2', '-l:libtensorflow_framework.so.2'],
    // Relative, so that the project can be moved.
    `-Wl,-rpath,$ORIGIN/${relative(target, libraries)}`,
    ...['-o', join(target, 'tfjs_binding.node')],
  ])
  if (!succeeded)
    throw new UserError(`Cannot compile the binding of ${npmName}. See the compiler's messages above.`)
}

/** Returns the folder of TensorFlow's libraries in a Python environment. */
function tensorflowFolder({ name }: PythonEnvironment): string {
  const library = join(partFolder(name), 'lib')
  const [version] = readdirSync(library).filter((entry) => entry.startsWith('python3'))
  const folder = join(library, version!, 'site-packages/tensorflow')
  if (!existsSync(join(folder, 'libtensorflow_cc.so.2')))
    throw new UserError(
      `Cannot find TensorFlow's libraries in ${folder}. Remove the part ${name} and install it again.`,
    )
  return folder
}

/** Loads the binding in another process, because a broken one would end it. */
async function tryBinding(folder: string, npmName: string): Promise<void> {
  const code = `const tf = require(${JSON.stringify(npmName)}); console.log('TensorFlow', tf.version['tfjs-node'], tf.getBackend())`
  const script = join(folder, 'try.cjs')
  writeFileSync(script, code)
  if (!(await run(process.execPath, [script])).succeeded)
    throw new UserError(`${npmName} was built but does not load. See the messages above.`)
}
