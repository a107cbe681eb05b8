/**
 * Stands in for onnxruntime-web in the sampler module's worker, to see where the time of a drawing goes: the same
 * onnxruntime, whose sessions count the milliseconds of `run`, whose outputs count those of being read, and what the
 * worker does between the two and its next rest.
 */
import * as ort from 'onnxruntime-web'

export * from 'onnxruntime-web'

/** Milliseconds since they were last taken. */
export interface Times {
  network: number
  readBack: number
  /** The sampler's arithmetic, its noise, and the pictures on their way. */
  sampler: number
}

const times: Times = { network: 0, readBack: 0, sampler: 0 }

/** For the benchmark, which asks through the browser's debugger. */
Object.assign(globalThis, {
  takeTimes(): Times {
    const taken = { ...times }
    Object.assign(times, { network: 0, readBack: 0, sampler: 0 })
    return taken
  },
})

async function timed<T>(part: 'network' | 'readBack', work: () => Promise<T>): Promise<T> {
  const began = performance.now()
  const result = await work()
  times[part] += performance.now() - began
  onwards()
  return result
}

const { port1, port2 } = new MessageChannel()
let since: number | null = null
port1.onmessage = () => {
  times.sampler += performance.now() - since!
  since = null
}

/** Counts from now to the end of this task: a message comes in only when all that follows at once is done. */
function onwards(): void {
  if (since === null) port2.postMessage(null)
  since = performance.now()
}

export const InferenceSession: ort.InferenceSessionFactory = {
  create: async (...given: unknown[]) => {
    const create = ort.InferenceSession.create as (...given: unknown[]) => Promise<ort.InferenceSession>
    const session = await create(...given)
    const run = session.run.bind(session) as (...given: unknown[]) => Promise<ort.InferenceSession.ReturnType>
    session.run = async (...given: unknown[]) => {
      const results = await timed('network', () => run(...given))
      for (const result of Object.values(results)) {
        const getData = result.getData.bind(result)
        result.getData = (release) => timed('readBack', () => getData(release))
      }
      return results
    }
    return session
  },
}
