// Rate limits for hosts that provide none. They are the same as those of the Worker in `wrangler.toml`.
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv6 } from 'node:net'
import type { Cost } from '../../server/http/host.ts'

/** Maximum number of requests per client address and minute. */
export type Limits = { readonly [C in Cost]: number }

export const defaultLimits: Limits = { list: 120, read: 1200 }

const minute = 60_000

/**
 * Creates a rate limiter: counts requests per client address in fixed windows of one minute.
 * @returns a function that counts a request and returns whether it is within the limit
 */
export function rateLimit(
  limits: Limits,
  now: () => number = Date.now,
): (cost: Cost, address: string) => boolean {
  const counts = new Map<string, number>()
  let windowEnd = now() + minute
  return (cost, address) => {
    if (now() >= windowEnd) {
      counts.clear()
      windowEnd = now() + minute
    }
    const key = `${cost} ${networkOf(address)}`
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return count <= limits[cost]
  }
}

/** Returns the part of an address that identifies a subscriber: IPv4 address, or first 64 bits of an IPv6 address. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address
  const [head = [], tail = []] = address.split('::').map((part) => part.split(':').filter(Boolean))
  const zeros = Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0')
  return [...head, ...zeros, ...tail].slice(0, 4).join(':')
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/**
 * Returns the address of the client. If the peer is a proxy, this is the last address in X-Forwarded-For, which the
 * proxy added. Earlier addresses come from the client and may be forged.
 * @param behindProxy treats every peer as a proxy; peers on this machine always count as one
 */
export function clientAddress({ socket, headers }: IncomingMessage, behindProxy: boolean): string {
  const peer = socket.remoteAddress ?? 'unknown'
  const forwarded = headers['x-forwarded-for']
  if (forwarded === undefined) return peer
  const isProxy = behindProxy || loopback.check(peer, isIPv6(peer) ? 'ipv6' : 'ipv4')
  const client = String(forwarded).split(',').at(-1)!.trim()
  return isProxy && isIP(client) !== 0 ? client : peer
}
