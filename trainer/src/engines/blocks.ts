import { domains, normals } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import { createGraph, type Node } from '../graph.ts'
import { toOnnx } from '../onnx/model.ts'
import { sizeOf } from '../shapes.ts'

/** Widths that onnxruntime has: AVX-512, AVX and NEON. */
const candidates = [16, 8, 4]

let found: Promise<number | null> | undefined

/**
 * The block width of onnxruntime's blocked layout on this processor, or null where its blocked convolutions are not to
 * be had. Nothing tells it and a wrong one gives wrong numbers without an error: each candidate computes a convolution
 * and both its gradients, and is taken where they are what the plain operators compute.
 */
export function findBlockWidth(): Promise<number | null> {
  found ??= search()
  return found
}

async function search(): Promise<number | null> {
  const plain = await convolutions(null)
  if (plain === null) throw new Error('onnxruntime cannot compute a convolution.')
  for (const width of candidates) {
    const blocked = await convolutions(width)
    if (blocked?.every((values, i) => agree(values, plain[i]!))) return width
  }
  return null
}

function agree(a: Float32Array, b: Float32Array): boolean {
  return a.every((value, i) => Math.abs(value - b[i]!) <= 1e-4 * Math.max(1, Math.abs(b[i]!)))
}

/** A convolution of two pictures and its gradients; null where onnxruntime refuses. Channels are two blocks at least. */
async function convolutions(blockWidth: number | null): Promise<Float32Array[] | null> {
  const graph = createGraph()
  const { ops } = graph
  const picture = [2, 32, 3, 4] as const
  const [x, dy] = [graph.input('x', picture), graph.input('dy', picture)]
  const weight = graph.input('weight', [32, 32, 3, 3])
  const same = { stride: 1, padding: [1, 1, 1, 1] } as const
  const outputs: Record<string, Node> = {
    y: ops.conv2d(x, weight, null, same),
    dx: ops.conv2dInputGrad(dy, weight, { ...same, inputShape: picture }),
    dw: ops.conv2dWeightGrad(x, dy, { ...same, kernel: 3 }),
  }
  const feeds = Object.fromEntries(
    [x, dy, weight].map((node, i) => {
      const shape = node.shape as readonly number[]
      const values = new Float32Array(sizeOf(shape))
      normals(0, { domain: domains.initialization, picture: i, step: 0 }, values)
      return [['x', 'dy', 'weight'][i]!, new ort.Tensor('float32', values, shape)]
    }),
  )
  try {
    // A refusal is an answer here, not something to warn of.
    const options = { logSeverityLevel: 4, graphOptimizationLevel: 'disabled' } as const
    const session = await ort.InferenceSession.create(
      toOnnx(outputs, { dialect: 'onnxruntime', blockWidth }),
      options,
    )
    const results = await session.run(feeds)
    await session.release()
    return Object.keys(outputs).map((name) => results[name]!.data as Float32Array)
  } catch {
    return null
  }
}
