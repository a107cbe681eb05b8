import { domains, fillNormals } from '@ddpm/shared'
import { createGraph, type Node } from '../algebra/graph.ts'
import { sizeOf } from '../algebra/shape-rules.ts'
import { toOnnx } from '../compile/onnx/model.ts'
import { blockWidths } from '../compile/onnx/nchwc/layout.ts'
import ort from '../support/onnxruntime-node.ts'

let cached: Promise<number | null> | undefined

/**
 * Returns the block width of onnxruntime's blocked layout (NCHWc) on this processor, or null if blocked convolutions
 * are not available.
 *
 * onnxruntime does not report the width, and a wrong width gives wrong numbers without an error. Therefore, every operation
 * that has a blocked version is run with each candidate width. The results must agree with those of the plain operators.
 */
export function detectBlockWidth(): Promise<number | null> {
  cached ??= search()
  return cached
}

async function search(): Promise<number | null> {
  const plain = await runOps(null)
  if (plain === null) throw new Error('Cannot use onnxruntime: a test graph failed on the CPU.')
  for (const width of blockWidths) {
    const blocked = await runOps(width)
    if (blocked?.every((values, i) => agree(values, plain[i]!))) return width
  }
  return null
}

function agree(a: Float32Array, b: Float32Array): boolean {
  const scale = b.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
  return a.every((value, i) => Math.abs(value - b[i]!) <= 1e-5 * scale)
}

/**
 * Runs every operation that has a blocked version, on two images with at least two blocks of channels.
 * @param blockWidth null to use the plain operators
 * @returns null if onnxruntime cannot run the graph
 */
async function runOps(blockWidth: number | null): Promise<Float32Array[] | null> {
  const graph = createGraph()
  const { ops, input } = graph
  const image = [2, 32, 4, 6] as const
  const shapes = {
    x: image,
    dy: image,
    weight: [32, 32, 3, 3],
    pointwise: [32, 32, 1, 1],
    scale: [32],
    perChannel: [2, 32, 1, 1],
  } as const
  const { x, dy, weight, pointwise, scale, perChannel } = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, input(name, shape)]),
  ) as Record<keyof typeof shapes, Node>
  const same = { stride: 1, padding: [1, 1, 1, 1] } as const
  const y = ops.conv2d(x, weight, scale, same)
  const normalized = ops.groupNorm(ops.add(y, perChannel), scale, scale, { groups: 8, eps: 1e-5 })
  const half = ops.conv2d(ops.silu(normalized), weight, null, { ...same, stride: 2 })
  const outputs: Record<string, Node> = {
    half,
    sigmoid: ops.sigmoid(normalized),
    dx: ops.conv2dInputGrad(dy, weight, { ...same, inputShape: image }),
    dw: ops.conv2dWeightGrad(y, dy, { ...same, kernel: 3 }),
    sum: ops.add(ops.conv2d(y, pointwise, null, { stride: 1, padding: [0, 0, 0, 0] }), dy),
    affine: ops.add(ops.channelAffine(y, perChannel, perChannel), ops.upsample2x(half)),
    up: ops.conv2d(ops.upsample2x(half), weight, scale, same),
    upDx: ops.sumPool2x(ops.conv2dInputGrad(y, weight, { ...same, inputShape: image })),
    upDw: ops.conv2dWeightGrad(ops.upsample2x(half), y, { ...same, kernel: 3 }),
    dot: ops.pixelDot(dy, y),
    pixels: ops.reduceSum(y, [2, 3]),
    pool: ops.sumPool2x(y),
  }
  const feeds = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => {
      const values = new Float32Array(sizeOf(shape))
      fillNormals(0, { domain: domains.initialization, image: i, step: 0 }, values)
      return [name, new ort.Tensor('float32', values, shape)]
    }),
  )
  try {
    // A failure is an expected result here, so only fatal errors are logged.
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
