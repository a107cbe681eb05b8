import { readFile } from 'node:fs/promises'

/**
 * Returns the address of the Worker that a run of `wrangler deploy` has deployed, or null if it has none.
 * @param path file in which wrangler wrote its output as JSON lines, WRANGLER_OUTPUT_FILE_PATH. The standard output also
 *   contains other addresses, for example of bindings and documentation.
 */
export async function readWorkerAddress(path: string): Promise<string | null> {
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  const entries = lines.map((line) => JSON.parse(line) as { type: string; targets?: string[] | null })
  return chooseAddress(entries.find(({ type }) => type === 'deploy')?.targets ?? [])
}

/**
 * Chooses the address of a Worker from the targets that wrangler reports. A workers.dev address is preferred, because a
 * zone's rules for robots do not apply to it; then a custom domain; then a route for a whole host name.
 * @param targets for example `https://ddpm.ada.workers.dev`, `models.example (custom domain)`,
 *   `models.example/* (zone name: example)` or `schedule: 0 * * * *`
 * @returns an origin, or null
 */
export function chooseAddress(targets: readonly string[]): string | null {
  const workersDev = targets.find((target) => /^https:\/\/[a-z0-9.-]+\.workers\.dev$/.test(target))
  if (workersDev !== undefined) return workersDev
  const custom = targets.find(
    (target) => /^[a-z0-9.-]+ \(custom domain/i.test(target) && !target.includes('production: disabled'),
  )
  const route = targets.find((target) =>
    /^(https:\/\/)?[a-z0-9-]+(\.[a-z0-9-]+)+\/\*( \(zone [^)]*\))?$/i.test(target),
  )
  const host = /^(?:https:\/\/)?([^\s/]+)/.exec(custom ?? route ?? '')?.[1]
  return host === undefined ? null : `https://${host}`
}
