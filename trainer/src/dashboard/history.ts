import { type Quantity, quantities, type StepLine, type Update } from './protocol.ts'

/** A point of the curves. It stores the sums of the quantities over `count` consecutive steps. */
interface Point {
  /** Number of the last of these steps. */
  step: number
  count: number
  readonly sums: Record<Quantity, number>
}

export type Curves = Pick<Update, 'from' | 'stride' | 'steps' | 'values' | 'validation' | 'latest'>

/** The metrics of a run, averaged over steps so that the number of points is limited. */
export interface History {
  /** Adds a line of metrics.jsonl. Invalid lines are ignored. */
  add(line: string): void
  /** Returns the points with index `from` or higher. */
  curves(from: number): Curves
  /** Returns the last added step. */
  latest(): StepLine | null
  /** Returns the number of points, and the number of steps per point. */
  extent(): { readonly points: number; readonly stride: number }
}

/** Creates a history that is limited to `maxPoints` points. If there are more, neighbouring points are merged in pairs. */
export function createHistory(maxPoints = 2000): History {
  let points: Point[] = []
  let stride = 1
  let latest: StepLine | null = null
  const validation = new Map<number, number>()

  function append(step: number, count: number, sums: Readonly<Record<Quantity, number>>): void {
    const last = points.at(-1)
    const group = Math.floor((step - 1) / stride)
    if (last && Math.floor((last.step - 1) / stride) === group) {
      last.step = step
      last.count += count
      for (const name of quantities) last.sums[name] += sums[name]
    } else {
      points.push({ step, count, sums: { ...sums } })
    }
  }

  function mergePairs(): void {
    const finer = points
    points = []
    stride *= 2
    for (const { step, count, sums } of finer) append(step, count, sums)
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
      append(latest.step, 1, latest)
      while (points.length > maxPoints) mergePairs()
    },
    curves(from) {
      const shown = points.slice(from)
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
    extent: () => ({ points: points.length, stride }),
  }
}
