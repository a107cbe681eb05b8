import type { Emitter, Layout, Value } from './emitter.ts'

/** The value's name with its axes as they were recorded. */
export function recorded({ transpose }: Emitter, { name, layout }: Value): string {
  return layout === 'recorded' ? name : transpose(name, [0, 3, 1, 2])
}

/** The name of a picture's value with its channels last. */
export function channelsLast({ transpose }: Emitter, { name, layout }: Value): string {
  return layout === 'channelsLast' ? name : transpose(name, [0, 2, 3, 1])
}

/** Values in one layout: channels last where any of them has its channels last. */
export function agree(
  emitter: Emitter,
  values: readonly Value[],
): { readonly names: readonly string[]; readonly layout: Layout } {
  const last = values.some(({ layout }) => layout === 'channelsLast')
  return {
    names: values.map((value) => (last ? channelsLast : recorded)(emitter, value)),
    layout: last ? 'channelsLast' : 'recorded',
  }
}

/** What is said of each axis, in the order of a layout. */
export function arrange<T>(layout: Layout, perAxis: readonly T[]): readonly T[] {
  return layout === 'recorded' ? perAxis : [0, 2, 3, 1].map((axis) => perAxis[axis]!)
}

/** Where an axis lies in a layout. */
export function axisIn(layout: Layout, axis: number): number {
  return layout === 'recorded' ? axis : [0, 3, 1, 2][axis]!
}
