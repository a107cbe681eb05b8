import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'

/** Folder of `wrangler.toml`. */
export const projectRoot = fileURLToPath(new URL('../../..', import.meta.url))
/** DDPM_WRANGLER_CONFIG overrides the path, for tests. */
export const configPath = process.env['DDPM_WRANGLER_CONFIG'] ?? join(projectRoot, 'wrangler.toml')

/** Environment variables that make wrangler quiet, non-interactive and, where possible, offline. */
const wranglerEnv = {
  CI: '1',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_WRITE_LOGS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
} as const

/**
 * Imports wrangler as a library. It reads the environment variables when it is loaded. Its configuration folder is inside
 * the project, because it stores a device id there even without metrics. The local server needs no login.
 */
export async function importWrangler(): Promise<typeof import('wrangler')> {
  const configFolder = { XDG_CONFIG_HOME: join(projectRoot, '.wrangler/config') }
  Object.assign(process.env, wranglerEnv, configFolder, workerdEnv())
  return await import('wrangler')
}

/** Starts workerd through a script that kills it when this process ends, however it ends. */
function workerdEnv(): Record<string, string> {
  if (process.platform === 'win32') return {}
  const requireFromWrangler = createRequire(createRequire(import.meta.url).resolve('wrangler'))
  return {
    WORKERD: (requireFromWrangler('workerd') as { default: string }).default,
    MINIFLARE_WORKERD_PATH: fileURLToPath(new URL('workerd.sh', import.meta.url)),
  }
}

/** Result of a run of wrangler. */
export interface Outcome {
  status: number | null
  stdout: string
  stderr: string
}

/**
 * Runs wrangler's command line in the project folder and waits for it to exit.
 * @param env additional environment variables
 */
export async function wrangler(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const manifest = createRequire(import.meta.url).resolve('wrangler/package.json')
  const child = spawn(
    process.execPath,
    [join(dirname(manifest), 'bin/wrangler.js'), ...args, '--config', configPath],
    { cwd: projectRoot, env: { ...process.env, ...wranglerEnv, ...env, NO_COLOR: '1' } },
  )
  child.stdin.end()
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve)),
  ])
  return { status, stdout: stdout.join(''), stderr: stderr.join('') }
}

/** Runs wrangler like `wrangler`. @throws UserError if it fails */
export async function wranglerOrFail(...[args, env]: Parameters<typeof wrangler>): Promise<Outcome> {
  const outcome = await wrangler(args, env)
  if (outcome.status !== 0) throw wranglerError(args, outcome)
  return outcome
}

/** Creates the error for a failed run of wrangler. If the cause is known, the message explains what to do. */
export function wranglerError(args: readonly string[], { stdout, stderr }: Outcome): UserError {
  const output = `${stderr}\n${stdout}`.trim()
  if (
    /CLOUDFLARE_API_TOKEN environment variable|not (logged in|authenticated)|wrangler login/i.test(output)
  ) {
    return new UserError(
      'Not logged in to Cloudflare. Run "npx wrangler login" (or set CLOUDFLARE_API_TOKEN), then run the same command again.',
    )
  }
  if (/specified bucket does not exist/i.test(output)) {
    return new UserError(
      'The bucket of wrangler.toml does not exist on Cloudflare yet. Run "npm run deploy" first, which creates it.',
    )
  }
  if (/code: 100328/.test(output)) {
    return new UserError(
      "Cloudflare's free plan does not allow CPU limits. Remove the block [limits] from wrangler.toml, or change the " +
        'account to a paid plan, then run the same command again.',
    )
  }
  return new UserError(`"wrangler ${args.join(' ')}" failed:\n${output}`)
}
