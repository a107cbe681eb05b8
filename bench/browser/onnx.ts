import { createSchedule, paperSchedule } from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { answer, type Contender, probe, type Task } from './contender.ts'

/** Runs one graph in onnxruntime-web: the kind `network` only runs the graph, `loop` samples as typical demos do. */
answer(async (kind, task) => {
  ort.env.logLevel = 'error'
  ort.env.wasm.numThreads = task.threads
  ort.env.wasm.wasmPaths = new URL('ort/', self.location.href).href
  const session = await ort.InferenceSession.create(task.graph, {
    executionProviders: [{ name: task.device }],
    ...(task.device === 'webgpu' && kind === 'network' && { preferredOutputLocation: 'gpu-buffer' }),
  })
  return kind === 'network' ? networkAlone(session, task) : plainLoop(session, task)
})

type Feeds = Record<string, ort.Tensor>

function feedsOf({ dims, x, timestep, label }: ReturnType<typeof probe>): Feeds {
  return {
    x: new ort.Tensor('float32', x, dims),
    timestep: new ort.Tensor('float32', timestep, [timestep.length]),
    ...(label && { label: new ort.Tensor('float32', label, [label.length]) }),
  }
}

function networkAlone(session: ort.InferenceSession, task: Task): Contender {
  const feeds = feedsOf(probe(task))
  return {
    check: () => outputOf(session, feeds),
    async run(steps) {
      for (let i = 0; i < steps; i++) (await session.run(feeds))['output']!.dispose()
      if (task.device === 'webgpu') await (await ort.env.webgpu.device).queue.onSubmittedWorkDone()
    },
  }
}

async function outputOf(session: ort.InferenceSession, feeds: Feeds): Promise<Float32Array> {
  const { output } = await session.run(feeds)
  const values = ((await output!.getData()) as Float32Array).slice()
  output!.dispose()
  return values
}

/** DDPM algorithm 2 as it is usually written: every step creates new tensors and copies the output back. */
function plainLoop(session: ort.InferenceSession, task: Task): Contender {
  const { betas, alphasCumprod } = createSchedule(paperSchedule)
  return {
    check: () => outputOf(session, feedsOf(probe(task))),
    async run(steps) {
      const { dims, x: start, label } = probe(task)
      let x = start.map(gaussian)
      for (let i = steps; i-- > 0; ) {
        const t = Math.floor((i * betas.length) / steps)
        const timestep = new Float32Array(task.count).fill(t)
        const epsilon = await outputOf(session, feedsOf({ dims, x, timestep, label }))
        const [beta, alphaBar] = [betas[t]!, alphasCumprod[t]!]
        const next = new Float32Array(x.length)
        for (let k = 0; k < x.length; k++) {
          const mean = (x[k]! - (beta / Math.sqrt(1 - alphaBar)) * epsilon[k]!) / Math.sqrt(1 - beta)
          next[k] = mean + (i > 0 ? Math.sqrt(beta) * gaussian() : 0)
        }
        x = next
      }
    },
  }
}

function gaussian(): number {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())
}
