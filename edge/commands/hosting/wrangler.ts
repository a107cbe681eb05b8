import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'

/** The folder that holds `wrangler.toml`. */
export const projectRoot = fileURLToPath(new URL('../../..', import.meta.url))
export const configPath = join(projectRoot, 'wrangler.toml')

/** What keeps wrangler quiet, offline where it can be, and from asking questions. */
export const quietly = {
  CI: '1',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_WRITE_LOGS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
} as const

/** Wrangler as a library; it reads these variables when it loads. */
export async function wranglerModule(): Promise<typeof import('wrangler')> {
  Object.assign(process.env, quietly, workerdEndsWithUs())
  return await import('wrangler')
}

/** Has workerd started through a script that ends it with this process, however that ends. */
function workerdEndsWithUs(): Record<string, string> {
  if (process.platform === 'win32') return {}
  const ofWrangler = createRequire(createRequire(import.meta.url).resolve('wrangler'))
  return {
    WORKERD: (ofWrangler('workerd') as { default: string }).default,
    MINIFLARE_WORKERD_PATH: fileURLToPath(new URL('workerd.sh', import.meta.url)),
  }
}

/** How a run of wrangler ended. */
export interface Outcome {
  status: number | null
  stdout: string
  stderr: string
}

/** Runs wrangler's command line in the project and waits for its end. */
export async function wrangler(args: readonly string[], input = ''): Promise<Outcome> {
  const manifest = createRequire(import.meta.url).resolve('wrangler/package.json')
  const child = spawn(
    process.execPath,
    [join(dirname(manifest), 'bin/wrangler.js'), ...args, '--config', configPath],
    { cwd: projectRoot, env: { ...process.env, ...quietly, NO_COLOR: '1' } },
  )
  child.stdin.end(input)
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve)),
  ])
  return { status, stdout: stdout.join(''), stderr: stderr.join('') }
}

/** As `wrangler`, for a run on the user's Cloudflare account that must succeed. */
export async function wranglerOrFail(args: readonly string[], input = ''): Promise<Outcome> {
  const outcome = await wrangler(args, input)
  if (outcome.status !== 0) throw failure(args, outcome)
  return outcome
}

/** What went wrong in a run of wrangler, and what to do. */
export function failure(args: readonly string[], { stdout, stderr }: Outcome): UserError {
  const said = `${stderr}\n${stdout}`.trim()
  if (/CLOUDFLARE_API_TOKEN environment variable|not (logged in|authenticated)|wrangler login/i.test(said)) {
    return new UserError(
      'Not logged in to Cloudflare. Run "npx wrangler login" (or set CLOUDFLARE_API_TOKEN), then the same command again.',
    )
  }
  if (/specified bucket does not exist/i.test(said)) {
    return new UserError(
      'The bucket of wrangler.toml does not exist on Cloudflare yet. "npm run deploy" creates it; run that first.',
    )
  }
  return new UserError(`"wrangler ${args.join(' ')}" failed:\n${said}`)
}
