// The limits that `wrangler.toml` gives to the Worker, for a host that has none of its own.
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv6 } from 'node:net'
import type { Cost } from '../../server/http/host.ts'

/** Requests of one address a minute. */
export type Limits = { readonly [C in Cost]: number }

export const defaultLimits: Limits = { list: 120, read: 1200 }

const minute = 60_000

/**
 * Counts what each address causes, and forgets it with the minute.
 * @returns whether this address may cause this cost now
 */
export function rateLimit(
  limits: Limits,
  now: () => number = Date.now,
): (cost: Cost, address: string) => boolean {
  const counts = new Map<string, number>()
  let ends = now() + minute
  return (cost, address) => {
    if (now() >= ends) {
      counts.clear()
      ends = now() + minute
    }
    const key = `${cost} ${networkOf(address)}`
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return count <= limits[cost]
  }
}

/** What one subscriber has: an IPv4 address, or the first 64 bits of an IPv6 one. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address
  const [head = [], tail = []] = address.split('::').map((part) => part.split(':').filter(Boolean))
  const zeros = Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0')
  return [...head, ...zeros, ...tail].slice(0, 4).join(':')
}

const thisMachine = new BlockList()
thisMachine.addSubnet('127.0.0.0', 8)
thisMachine.addAddress('::1', 'ipv6')

/**
 * The address that asks. Where that is a proxy, on this machine or by the word of whoever runs it, it is the one that
 * the proxy names last; what stands before may be anybody's invention.
 */
export function addressOf({ socket, headers }: IncomingMessage, behindProxy: boolean): string {
  const peer = socket.remoteAddress ?? 'unknown'
  const isProxy = behindProxy || thisMachine.check(peer, isIPv6(peer) ? 'ipv6' : 'ipv4')
  const named = String(headers['x-forwarded-for'] ?? '')
    .split(',')
    .at(-1)!
    .trim()
  return isProxy && isIP(named) !== 0 ? named : peer
}
