import type { Node } from '../../../algebra/graph.ts'
import type { Dim, Shape } from '../../../algebra/ops.ts'
import type { Emitter } from '../emit/emitter.ts'

/** Domain of onnxruntime's operators for the blocked layout. lower.ts describes the layout. */
export const nchwcDomain = 'com.microsoft.nchwc'

/** Possible numbers of channels per block: on processors with AVX-512, AVX and NEON. */
export const blockWidths = [16, 8, 4] as const

/** An emitter and the tensors that are in blocked layout. */
export interface BlockedEmitter extends Emitter {
  /** Number of channels per block, B. */
  readonly blockWidth: number
  /** Names of the tensors in blocked layout. For these nodes, `nameOf` returns the tensor converted to [N, C, H, W]. */
  readonly blockedNames: ReadonlyMap<Node, string>
}

/** Returns whether the numbers of channels are multiples of the block width. */
export function fits(width: number, ...channels: readonly Dim[]): boolean {
  return channels.every((count) => typeof count === 'number' && count % width === 0)
}

/**
 * Returns whether a node's tensor is in blocked layout. A tensor [N, C, 1, 1] is identical in both layouts and counts as
 * plain.
 */
export function isBlocked({ blockedNames }: BlockedEmitter, node: Node): boolean {
  return blockedNames.has(node)
}

/** Returns the name of a node's tensor in blocked layout. Its channels must be a multiple of the block width. */
export function blockedNameOf(emitter: BlockedEmitter, node: Node): string {
  return emitter.blockedNames.get(node) ?? toBlocked(emitter, emitter.nameOf(node))
}

/** Emits the conversion of [N, C, H, W] to blocked layout. C must be a multiple of the block width. */
export function toBlocked({ emit }: Emitter, x: string): string {
  return emit('ReorderInput', [x], { channels_last: 0 }, { domain: nchwcDomain })
}

/** Emits the conversion from blocked layout to [N, C, H, W]. */
export function toPlain({ emit }: Emitter, x: string, [, channels]: Shape): string {
  const attributes = { channels: channels as number, channels_last: 0 }
  return emit('ReorderOutput', [x], attributes, { domain: nchwcDomain })
}
