import type { Row } from '@ddpm/shared'

/** How far back a row may look: DPM-Solver++ and UniPC of order 3 look at two earlier x_0. */
export const mostEarlier = 4

/**
 * A row of a plan as a compute shader: what runPlan of shared does for one number, it does for all of them at once.
 *   output ← unconditional + scale·(conditional − unconditional)
 *   x0     ← clamp(p·x + q·output)
 *   x      ← a·x + b·x0 + Σₖ c[k]·x0₋ₖ + e·output + σ·z
 * The x_0 of this row and of earlier ones lie in a ring of `kept` slots.
 */
const shader = /* wgsl */ `
struct Row {
  p: f32, q: f32, bound: f32, a: f32,
  b: f32, e: f32, d: f32, scale: f32,
  c: vec4<f32>,
  // Of a variance that the network says: log β̃ and log β (Nichol & Dhariwal 2021, eq. 15).
  log_small: f32, log_large: f32, learned: u32,
  // Numbers in all, per picture, and per picture of the network's output.
  length: u32, size: u32, stride: u32,
  slot: u32, kept: u32,
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
  let at = (i / row.size) * row.stride + i % row.size;
  let without = unconditional[at];
  let output = without + row.scale * (conditional[at] - without);
  let x0 = clamp(row.p * x[i] + row.q * output, -row.bound, row.bound);
  var sum = row.a * x[i] + row.b * x0 + row.e * output;
  for (var k = 1u; k < row.kept; k++) {
    sum += row.c[k - 1u] * x0s[((row.slot + row.kept - k) % row.kept) * row.length + i];
  }
  var sigma = row.d;
  if (row.learned == 1u) {
    let f = (conditional[at + row.size] + 1.0) / 2.0;
    sigma = exp((f * row.log_large + (1.0 - f) * row.log_small) / 2.0);
  }
  x[i] = sum + sigma * z[i];
  x0s[row.slot * row.length + i] = x0;
}
`

const rowBytes = 80
const workgroup = 64

/** Where a group of pictures lies on the graphics card. */
export interface RowBuffers {
  /** [count, size] */
  readonly x: GPUBuffer
  /** [kept, count, size] */
  readonly x0s: GPUBuffer
  /** [count, stride] each; the same where only one is asked for. */
  readonly conditional: GPUBuffer
  readonly unconditional: GPUBuffer
  /** [count, size] */
  readonly z: GPUBuffer
}

/** What holds for every row of a drawing. */
export interface RowShape {
  readonly length: number
  readonly size: number
  readonly stride: number
  readonly kept: number
  /** Of guidance. */
  readonly scale: number
}

/** Puts rows into a device's queue; what lies in `buffers` is changed in place. */
export interface RowStepper {
  /** @param index of the row in its plan */
  step(row: Row, index: number): void
  dispose(): void
}

export type MakeStepper = (buffers: RowBuffers, shape: RowShape) => RowStepper

/** Compiles the shader; called once per device. */
export async function compileRow(device: GPUDevice): Promise<MakeStepper> {
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
        device.queue.writeBuffer(uniform, 0, encodeRow(row, shape, index % shape.kept))
        const encoder = device.createCommandEncoder()
        const pass = encoder.beginComputePass()
        pass.setPipeline(pipeline)
        pass.setBindGroup(0, group)
        pass.dispatchWorkgroups(Math.ceil(shape.length / workgroup))
        pass.end()
        device.queue.submit([encoder.finish()])
      },
      dispose: () => uniform.destroy(),
    }
  }
}

/** The shader's `Row`. */
function encodeRow({ p, q, clamp, a, b, c, d, e }: Row, shape: RowShape, slot: number): ArrayBuffer {
  const learned = typeof d !== 'number'
  const [small, large] = learned ? d : [0, 0]
  const bound = typeof clamp === 'number' ? clamp : 3e38
  const bytes = new ArrayBuffer(rowBytes)
  new Float32Array(bytes).set([p, q, bound, a, b, e, learned ? 0 : d, shape.scale, ...c])
  new Float32Array(bytes, 48).set([small, large])
  const { length, size, stride, kept } = shape
  new Uint32Array(bytes, 56).set([Number(learned), length, size, stride, slot, kept])
  return bytes
}
