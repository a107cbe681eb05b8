import type { Row } from '@ddpm/shared'

/** Max number of earlier x̂₀ that a row can use. DPM-Solver++ and UniPC of order 3 use two. */
export const maxHistory = 4

/**
 * Compute shader for one row of a sampling plan. It does the same arithmetic as `runPlan` of @ddpm/shared, with one
 * invocation per value:
 *   output ← unconditional + scale·(conditional − unconditional)
 *   x0     ← clamp(p·x + q·output)
 *   x      ← a·x + b·x0 + Σₖ c[k]·x0₋ₖ + e·output + σ·z
 * The x̂₀ of this row and of earlier rows are in a ring buffer of `ring_size` slots.
 */
const shader = /* wgsl */ `
struct Row {
  p: f32, q: f32, bound: f32, a: f32,
  b: f32, e: f32, d: f32, scale: f32,
  c: vec4<f32>,
  // Bounds of a learned variance: log β̃ and log β (Nichol & Dhariwal 2021, eq. 15).
  log_small: f32, log_large: f32, learned: u32,
  // Number of values in total, per image, and per image in the network's output.
  length: u32, size: u32, stride: u32,
  slot: u32, ring_size: u32,
}

@group(0) @binding(0) var<uniform> row: Row;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> x0s: array<f32>;
@group(0) @binding(3) var<storage, read> conditional: array<f32>;
@group(0) @binding(4) var<storage, read> unconditional: array<f32>;
@group(0) @binding(5) var<storage, read> z: array<f32>;

@compute @workgroup_size(64)
fn advance(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= row.length) { return; }
  let j = (i / row.size) * row.stride + i % row.size;
  let base = unconditional[j];
  let output = base + row.scale * (conditional[j] - base);
  let x0 = clamp(row.p * x[i] + row.q * output, -row.bound, row.bound);
  var sum = row.a * x[i] + row.b * x0 + row.e * output;
  for (var k = 1u; k < row.ring_size; k++) {
    sum += row.c[k - 1u] * x0s[((row.slot + row.ring_size - k) % row.ring_size) * row.length + i];
  }
  var sigma = row.d;
  if (row.learned == 1u) {
    let f = (conditional[j + row.size] + 1.0) / 2.0;
    sigma = exp((f * row.log_large + (1.0 - f) * row.log_small) / 2.0);
  }
  x[i] = sum + sigma * z[i];
  x0s[row.slot * row.length + i] = x0;
}
`

const rowBytes = 80
const workgroupSize = 64

/** GPU buffers of a batch of images, float32. */
export interface RowBuffers {
  /** x_t, [count, size]. */
  readonly x: GPUBuffer
  /** Current and earlier x̂₀, [ringSize, count, size]. */
  readonly x0s: GPUBuffer
  /** Network output for the class, [count, stride]. */
  readonly conditional: GPUBuffer
  /** Network output without class, [count, stride]; the same buffer as `conditional` if there is only one pass. */
  readonly unconditional: GPUBuffer
  /** Noise, [count, size]. */
  readonly z: GPUBuffer
}

/** Sizes and guidance scale, the same for every row of a plan. */
export interface RowShape {
  /** Number of values of x. */
  readonly length: number
  /** Number of values per image. */
  readonly size: number
  /** Number of output values of the network per image. */
  readonly stride: number
  /** Number of x̂₀ in the ring buffer. */
  readonly ringSize: number
  /** Guidance scale. */
  readonly scale: number
}

/** Submits rows to the GPU's queue. The shader updates the buffers in place. */
export interface RowStepper {
  /** @param index index of the row in its plan */
  step(row: Row, index: number): void
  dispose(): void
}

export type CreateStepper = (buffers: RowBuffers, shape: RowShape) => RowStepper

/** Compiles the shader, once per device. Returns a function that creates a stepper for a batch. */
export async function compileRow(device: GPUDevice): Promise<CreateStepper> {
  const module = device.createShaderModule({ code: shader })
  const compute = { module, entryPoint: 'advance' }
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute })
  return (buffers, shape) => {
    const uniform = device.createBuffer({
      size: rowBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    })
    const { x, x0s, conditional, unconditional, z } = buffers
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [uniform, x, x0s, conditional, unconditional, z].map((buffer, binding) => ({
        binding,
        resource: { buffer },
      })),
    })
    return {
      step(row, index) {
        device.queue.writeBuffer(uniform, 0, encodeRow(row, shape, index % shape.ringSize))
        const encoder = device.createCommandEncoder()
        const pass = encoder.beginComputePass()
        pass.setPipeline(pipeline)
        pass.setBindGroup(0, group)
        pass.dispatchWorkgroups(Math.ceil(shape.length / workgroupSize))
        pass.end()
        device.queue.submit([encoder.finish()])
      },
      dispose: () => uniform.destroy(),
    }
  }
}

/** Encodes the shader's `Row` struct. */
function encodeRow({ p, q, clamp, a, b, c, d, e }: Row, shape: RowShape, slot: number): ArrayBuffer {
  const learned = typeof d !== 'number'
  const [small, large] = learned ? d : [0, 0]
  const bound = typeof clamp === 'number' ? clamp : 3e38
  const bytes = new ArrayBuffer(rowBytes)
  new Float32Array(bytes).set([p, q, bound, a, b, e, learned ? 0 : d, shape.scale, ...c])
  new Float32Array(bytes, 48).set([small, large])
  const { length, size, stride, ringSize } = shape
  new Uint32Array(bytes, 56).set([Number(learned), length, size, stride, slot, ringSize])
  return bytes
}
