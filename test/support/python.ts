import { spawn, spawnSync } from 'node:child_process'

/** The Python that the tests use: the program in `DDPM_PYTHON`, or `python3`. */
export const python = process.env['DDPM_PYTHON'] ?? 'python3'

/**
 * Returns why a test that needs Python packages is skipped, for the option `skip`; false if they are installed.
 * @param packages names on PyPI, which are also the names of the modules
 */
export function missingPackages(...packages: readonly string[]): string | false {
  // Importing them would take seconds.
  const code = `import importlib.util as util; exit(not all(map(util.find_spec, ${JSON.stringify(packages)})))`
  if (spawnSync(python, ['-c', code]).status === 0) return false
  return `requires Python packages: ${python} -m pip install ${packages.join(' ')} (DDPM_PYTHON chooses another Python)`
}

/**
 * Runs a Python script that prints JSON.
 * @param env variables in addition to those of this process
 * @throws Error with the script's output if it fails
 */
export async function runPython(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const child = spawn(python, [script, ...args], { env: { ...process.env, ...env } })
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve)),
  ])
  if (status === 0) return JSON.parse(stdout.join(''))
  throw new Error(`${script} exited with ${status}:\n${stderr.join('')}`)
}

/** Variables that keep the hub's Python client offline, except for the given server, and its files in the folder. */
export const hubClientEnv = (url: string, folder: string) => ({
  HF_ENDPOINT: url,
  HF_HOME: folder,
  HF_HUB_DISABLE_TELEMETRY: '1',
  HF_HUB_DISABLE_PROGRESS_BARS: '1',
  HF_HUB_DISABLE_XET: '1',
})
