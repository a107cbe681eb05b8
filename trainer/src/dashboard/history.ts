import { type Quantity, quantities, type StepLine, type Update } from './protocol.ts'

/** A point of the curves: sums over neighbouring steps. */
interface Cell {
  step: number
  count: number
  readonly sums: Record<Quantity, number>
}

export type Curves = Pick<Update, 'from' | 'stride' | 'steps' | 'values' | 'validation' | 'latest'>

/** What metrics.jsonl says, thinned to what a page can show. */
export interface History {
  /** Takes one line; one that is not whole is passed over. */
  add(line: string): void
  /** The points from number `from` on. */
  curves(from: number): Curves
  /** The last step that was added. */
  latest(): StepLine | null
  /** Number of points so far, and of steps in each. */
  extent(): { readonly points: number; readonly stride: number }
}

/**
 * A history of at most `limit` points: when there would be more, neighbours become one, and a point stands for twice as
 * many steps as before.
 */
export function createHistory(limit = 2000): History {
  let cells: Cell[] = []
  let stride = 1
  let latest: StepLine | null = null
  const validation = new Map<number, number>()

  function put(step: number, count: number, sums: Readonly<Record<Quantity, number>>): void {
    const last = cells.at(-1)
    const place = Math.floor((step - 1) / stride)
    if (last && Math.floor((last.step - 1) / stride) === place) {
      last.step = step
      last.count += count
      for (const name of quantities) last.sums[name] += sums[name]
    } else {
      cells.push({ step, count, sums: { ...sums } })
    }
  }

  function merge(): void {
    const finer = cells
    cells = []
    stride *= 2
    for (const { step, count, sums } of finer) put(step, count, sums)
  }

  return {
    add(line) {
      let entry: Partial<StepLine> & { step?: number; validationLoss?: number }
      try {
        entry = JSON.parse(line)
      } catch {
        return
      }
      if (typeof entry.step !== 'number') return
      if (typeof entry.validationLoss === 'number') validation.set(entry.step, entry.validationLoss)
      if (!quantities.every((name) => typeof entry[name] === 'number')) return
      latest = entry as StepLine
      put(latest.step, 1, latest)
      while (cells.length > limit) merge()
    },
    curves(from) {
      const shown = cells.slice(from)
      const means = (name: Quantity) => shown.map(({ count, sums }) => sums[name] / count)
      return {
        from,
        stride,
        steps: shown.map(({ step }) => step),
        values: {
          loss: means('loss'),
          gradientNorm: means('gradientNorm'),
          learningRate: means('learningRate'),
          imagesPerSecond: means('imagesPerSecond'),
        },
        validation: [...validation].map(([step, loss]) => ({ step, loss })),
        latest,
      }
    },
    latest: () => latest,
    extent: () => ({ points: cells.length, stride }),
  }
}
