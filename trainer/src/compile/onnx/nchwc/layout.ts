import type { Node } from '../../../algebra/graph.ts'
import type { Dim, Shape } from '../../../algebra/ops.ts'
import { type Emitter, nchwc } from '../emit/emitter.ts'

/**
 * onnxruntime's blocked layout: a picture [N, C, H, W] lies in memory as [N, C/B, H, W, B], with B the width of the
 * processor's vectors. Its kernels run at about the peak of the processor where the plain ones reach two thirds. The
 * layout belongs to onnxruntime's insides: what is built on it is tried against the plain operators before it is used
 * (engines/blocks.ts).
 *
 * A tensor of one value per channel, [N, C, 1, 1], lies the same in either layout and counts as recorded.
 */

/** Whether so many channels fill whole blocks. */
export function fits(width: number | null, ...channels: readonly Dim[]): width is number {
  return width !== null && channels.every((count) => typeof count === 'number' && count % width === 0)
}

export function isBlocked(emitter: Emitter, node: Node): boolean {
  return emitter.valueOf(node).layout === 'blocked'
}

/** The name of a node's value as it was recorded. */
export function recorded(emitter: Emitter, node: Node): string {
  const { name, layout } = emitter.valueOf(node)
  return layout === 'recorded' ? name : unblock(emitter, name, node.shape)
}

/** The name of a picture's value in blocks; its channels must fill them. */
export function blocked(emitter: Emitter, node: Node): string {
  const { name, layout } = emitter.valueOf(node)
  return layout === 'blocked' ? name : block(emitter, name)
}

/** [N, C, H, W] into blocks; C must be a multiple of their width. */
export function block({ emit }: Emitter, x: string): string {
  return emit('ReorderInput', [x], { channels_last: 0 }, { domain: nchwc })
}

export function unblock({ emit }: Emitter, x: string, [, channels]: Shape): string {
  return emit('ReorderOutput', [x], { channels: channels as number, channels_last: 0 }, { domain: nchwc })
}
