import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { installPart, isInstalled, type PartSize, partFolder, run } from './parts.ts'

/** Packages for Python in an environment of their own. They change nothing in the system's Python. */
export interface PythonEnvironment {
  readonly name: string
  /** Minor versions of Python 3 that the packages support, the preferred one first. */
  readonly minorVersions: readonly number[]
  /** Requirements in pip's format, with exact versions. */
  readonly requirements: readonly string[]
  /** Further options of pip install. */
  readonly pipOptions?: readonly string[]
  /** Folder in the environment for the packages. Default: that of the environment's Python, which can import them. */
  readonly target?: string
  readonly size: PartSize
}

const programOf = ({ name }: PythonEnvironment) =>
  join(partFolder(name), ...(process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python']))

/** Returns the Python of an environment, or null if it is not installed. */
export function installedPython(environment: PythonEnvironment): string | null {
  return isInstalled(environment.name) ? programOf(environment) : null
}

/**
 * Installs an environment. Removes everything again if this fails.
 * @param python program to create it with. Default: the first suitable one that is found.
 * @throws UserError without a suitable Python, its module venv, enough space, or a connection to the package index
 */
export async function installEnvironment(environment: PythonEnvironment, python?: string): Promise<void> {
  const program = python === undefined ? findPython(environment) : checkedPython(environment, python)
  await installPart(environment.name, environment.size, async (folder) => {
    await createFolder(folder, program)
    await installPackages(environment)
  })
}

async function createFolder(folder: string, program: string): Promise<void> {
  if ((await run(program, ['-m', 'venv', folder])).succeeded) return
  throw new UserError(
    `Cannot create a virtual environment with ${program}; see its messages above. If the module venv is missing, install ` +
      'it, for example with apt-get install python3-venv, or pass another Python with --python.',
  )
}

async function installPackages(environment: PythonEnvironment): Promise<void> {
  const folder = partFolder(environment.name)
  const { pipOptions = [], target } = environment
  const requirements = join(folder, 'requirements.txt')
  writeFileSync(requirements, environment.requirements.map((line) => `${line}\n`).join(''))
  const { succeeded, errors } = await run(programOf(environment), [
    ...['-m', 'pip', 'install', '--no-input', '--disable-pip-version-check', '--only-binary', ':all:'],
    ...['--requirement', requirements, ...pipOptions],
    ...(target === undefined ? [] : ['--target', join(folder, target)]),
  ])
  if (succeeded) return
  const cause = /No space left/.test(errors)
    ? 'The disk is full: free some space.'
    : /NewConnectionError|ConnectTimeout|NameResolution|Max retries|Connection (refused|broken)/.test(errors)
      ? 'The package index (pypi.org) cannot be reached: check the connection, or set PIP_INDEX_URL to a mirror.'
      : 'See its messages above.'
  throw new UserError(`pip could not install ${environment.name}. ${cause}`)
}

/** Returns the minor version of a Python 3, or the reason why there is none. */
function minorVersionOf(program: string): number | string {
  const { status, stdout, stderr, error } = spawnSync(
    program,
    ['-c', 'import sys; print(*sys.version_info[:2])'],
    {
      encoding: 'utf8',
    },
  )
  if (error) return error.message
  const [, major, minor] = /^(\d+) (\d+)/.exec(stdout) ?? []
  if (status !== 0 || major !== '3')
    return stderr.trimEnd().split('\n').at(-1) || `it is Python ${major ?? 'of an unknown version'}`
  return Number(minor)
}

const describeVersions = ({ minorVersions }: PythonEnvironment) =>
  minorVersions.map((minor) => `3.${minor}`).join(' or ')

/** @throws UserError if a program is not a suitable Python */
function checkedPython(environment: PythonEnvironment, program: string): string {
  const minor = minorVersionOf(program)
  if (typeof minor === 'string')
    throw new UserError(
      `Cannot run Python as "${program}" (${minor}). Pass the path of Python ${describeVersions(environment)}.`,
    )
  if (!environment.minorVersions.includes(minor))
    throw new UserError(
      `Invalid --python "${program}": it is Python 3.${minor}, but ${environment.name} needs Python ` +
        `${describeVersions(environment)}. Install one of them and pass its path.`,
    )
  return program
}

/** @throws UserError if no suitable Python is installed */
function findPython(environment: PythonEnvironment): string {
  const names = [...environment.minorVersions.map((minor) => `python3.${minor}`), 'python3', 'python']
  const found = names.map((name) => ({ name, minor: minorVersionOf(name) }))
  const suitable = found.find(
    ({ minor }) => typeof minor === 'number' && environment.minorVersions.includes(minor),
  )
  if (suitable) return suitable.name
  const others = found
    .filter(({ minor }) => typeof minor === 'number')
    .map(({ name, minor }) => `${name} is 3.${minor}`)
  throw new UserError(
    `Cannot find Python ${describeVersions(environment)}, which ${environment.name} needs` +
      `${others.length === 0 ? '' : ` (${others.join(', ')})`}. Install one of them, for example with uv python install ` +
      `3.${environment.minorVersions[0]} or from https://www.python.org, and pass its path with --python.`,
  )
}
