import type { DataLayout, Emitter, Tensor } from './emitter.ts'

/** Returns the name of a tensor in plain layout; emits a transposition if necessary. */
export function plainNameOf({ transpose }: Emitter, { name, layout }: Tensor): string {
  return layout === 'plain' ? name : transpose(name, [0, 3, 1, 2])
}

/** Returns the name of a tensor [N, C, H, W] in channels-last layout; emits a transposition if necessary. */
export function channelsLastNameOf({ transpose }: Emitter, { name, layout }: Tensor): string {
  return layout === 'channelsLast' ? name : transpose(name, [0, 2, 3, 1])
}

/** Converts tensors to a common layout: channels last if any of them has it, plain otherwise. */
export function unifyLayouts(
  emitter: Emitter,
  tensors: readonly Tensor[],
): { readonly names: readonly string[]; readonly layout: DataLayout } {
  const last = tensors.some(({ layout }) => layout === 'channelsLast')
  return {
    names: tensors.map((tensor) => (last ? channelsLastNameOf : plainNameOf)(emitter, tensor)),
    layout: last ? 'channelsLast' : 'plain',
  }
}

/** Reorders values per axis from plain layout to another one. */
export function reorderAxes<T>(layout: DataLayout, perAxis: readonly T[]): readonly T[] {
  return layout === 'plain' ? perAxis : [0, 2, 3, 1].map((axis) => perAxis[axis]!)
}

/** Returns the index of an axis of the plain layout in another layout. */
export function axisIn(layout: DataLayout, axis: number): number {
  return layout === 'plain' ? axis : [0, 3, 1, 2][axis]!
}
