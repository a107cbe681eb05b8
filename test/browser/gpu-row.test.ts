import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  applyGuidance,
  createSchedule,
  defaultSampling,
  domains,
  fillNoise,
  fillNormals,
  historyLength,
  type Plan,
  paperSchedule,
  planSampler,
  runPlan,
  type SamplerOptions,
} from '@ddpm/shared'
import { build } from 'esbuild'
import type { Browser, Page } from 'playwright-core'
import { launch } from '../support/browser.ts'

const count = 2
const size = 75

/** Replaces a network: a smooth function of x and t, with extra variance channels if the stride is larger. */
function network(x: Float32Array, t: number, { shift, stride }: { shift: number; stride: number }) {
  return Float32Array.from({ length: count * stride }, (_, i) => {
    const [image, offset] = [Math.floor(i / stride), i % stride]
    return Math.sin(x[image * size + (offset % size)]! + t / 300 + shift + offset / 50)
  })
}

/** Compares the compute shader in Chromium with the loop of @ddpm/shared in Node, on the same values. */
describe('compute shader for rows of a sampling plan', { timeout: 300_000 }, () => {
  let server: Server
  let browser: Browser
  let page: Page

  before(async () => {
    // WebGPU needs a secure context: localhost is one, about:blank is not.
    server = createServer((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<!doctype html>'),
    )
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
    browser = await launch()
    page = await browser.newPage()
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`)
    const entry = fileURLToPath(new URL('../../edge/sampler/gpu/row.ts', import.meta.url))
    const { outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      format: 'iife',
      globalName: 'gpuRow',
      write: false,
    })
    await page.addScriptTag({ content: outputFiles[0]!.text })
    await page.evaluate(openDevice)
  })

  after(async () => {
    await browser?.close()
    server?.close()
  })

  const epsilon = { predictionType: 'epsilon', clamp: 1, steps: 12 } as const
  for (const [options, { scale = 1, learned = false } = {}] of [
    [{ ...epsilon, sampler: 'ddpm' }],
    [
      { ...epsilon, sampler: 'ddpm', varianceType: 'learnedRange' },
      { learned: true, scale: 2 },
    ],
    [{ ...epsilon, sampler: 'ddim', eta: 0.5 }, { scale: 3 }],
    [{ ...epsilon, sampler: 'ddim', epsilon: 'raw' }, { learned: true }],
    [{ ...epsilon, sampler: 'ddim', predictionType: 'v', clamp: null }],
    [{ ...epsilon, sampler: 'dpmpp', order: 3, predictionType: 'x0' }, { scale: 0.5 }],
    [{ ...epsilon, sampler: 'sde-dpmpp', spacing: 'karras' }],
    [{ ...epsilon, sampler: 'unipc', order: 3 }, { scale: 2 }],
    [{ ...epsilon, sampler: 'heun' }],
  ] as [Partial<SamplerOptions> & typeof epsilon, { scale?: number; learned?: boolean }?][]) {
    const name = Object.entries({ ...options, scale, learned }).map(([key, value]) => `${key} ${value}`)
    test(name.join(', '), async () => {
      const plan = planSampler(createSchedule(paperSchedule), {
        ...defaultSampling,
        ...options,
      } as SamplerOptions)
      const stride = learned ? 2 * size : size
      const x = new Float32Array(count * size)
      fillNormals(5, { domain: domains.sampling, image: 0, step: 0 }, x)
      const both = (x: Float32Array, t: number) =>
        [0, 1].map((shift) => network(x, t, { shift, stride })) as [Float32Array, Float32Array]
      const expected = await runPlan(plan, (x, t) => applyGuidance(...both(x, t), { count, size, scale }), {
        seed: 7,
        indices: [0, 1],
        size,
        from: x,
      })
      const actual = await runOnGpu(plan, x, { stride, scale, both })
      const largest = Math.max(1, ...expected.map(Math.abs))
      const worst = Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!)))
      assert.ok(worst <= 2e-4 * largest, `differs by up to ${worst}, with values up to ${largest}`)
      assert.ok(expected.some((value) => Math.abs(value) > 0.1))
    })
  }

  interface RunOptions {
    readonly stride: number
    readonly scale: number
    readonly both: (x: Float32Array, t: number) => [Float32Array, Float32Array]
  }

  async function runOnGpu(plan: Plan, from: Float32Array, { stride, scale, both }: RunOptions) {
    const shape = { length: count * size, size, stride, ringSize: historyLength(plan) + 1, scale }
    await page.evaluate(createBuffers, { shape, from: [...from] })
    let x = from
    const z = new Float32Array(count * size)
    for (const [index, row] of plan.rows.entries()) {
      const [conditional, unconditional] = both(x, row.t!)
      fillNoise(7, [0, 1], index + 1, z)
      const inputs = {
        row,
        index,
        conditional: [...conditional],
        unconditional: [...unconditional],
        z: [...z],
      }
      x = Float32Array.from(await page.evaluate(step, inputs))
    }
    return x
  }
})

type GpuRow = typeof import('../../edge/sampler/gpu/row.ts')

/** Globals of the page that persist between calls. */
interface PageState {
  readonly gpuRow: GpuRow
  device: GPUDevice
  createStepper: Awaited<ReturnType<GpuRow['compileRow']>>
  buffers: { x: GPUBuffer; x0s: GPUBuffer; conditional: GPUBuffer; unconditional: GPUBuffer; z: GPUBuffer }
  stepper: ReturnType<PageState['createStepper']>
}

async function openDevice(): Promise<void> {
  const state = globalThis as unknown as PageState
  state.device = await (await navigator.gpu.requestAdapter())!.requestDevice()
  state.createStepper = await state.gpuRow.compileRow(state.device)
}

async function createBuffers({
  shape,
  from,
}: {
  shape: Parameters<PageState['createStepper']>[1]
  from: number[]
}): Promise<void> {
  const state = globalThis as unknown as PageState
  const { device } = state
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST
  const buffer = (values: number) => device.createBuffer({ size: values * 4, usage })
  const output = (shape.length / shape.size) * shape.stride
  state.buffers = {
    x: buffer(shape.length),
    x0s: buffer(shape.ringSize * shape.length),
    conditional: buffer(output),
    unconditional: buffer(output),
    z: buffer(shape.length),
  }
  device.queue.writeBuffer(state.buffers.x, 0, Float32Array.from(from))
  state.stepper = state.createStepper(state.buffers, shape)
}

async function step({
  row,
  index,
  ...inputs
}: {
  row: Plan['rows'][number]
  index: number
  conditional: number[]
  unconditional: number[]
  z: number[]
}): Promise<number[]> {
  const { device, buffers, stepper } = globalThis as unknown as PageState
  for (const [name, values] of Object.entries(inputs)) {
    device.queue.writeBuffer(buffers[name as keyof typeof inputs], 0, Float32Array.from(values))
  }
  stepper.step(row, index)
  const { size } = buffers.x
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(buffers.x, 0, staging, 0, size)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  return [...new Float32Array(staging.getMappedRange())]
}
