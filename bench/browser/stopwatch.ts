/**
 * Replaces onnxruntime-web in the sampler module's worker to measure where the time goes. It is the same onnxruntime, but
 * it counts the milliseconds of `run`, of reading outputs, and from there to the next `run`.
 */
import * as ort from 'onnxruntime-web'

export * from 'onnxruntime-web'

/** Milliseconds since the last call of `take`. */
export interface Times {
  network: number
  readBack: number
  /** From one evaluation to the next: sampler arithmetic, noise, previews and messages. */
  between: number
}

const none: Times = { network: 0, readBack: 0, between: 0 }
let times = { ...none }
let ended: number | null = null

/** Read by the benchmark through the browser's debugger. */
Object.assign(globalThis, {
  takeTimes(): Times {
    const taken = times
    times = { ...none }
    ended = null
    return taken
  },
})

async function timed<T>(part: 'network' | 'readBack', work: () => Promise<T>): Promise<T> {
  const began = performance.now()
  if (ended !== null) times.between += began - ended
  const result = await work()
  ended = performance.now()
  times[part] += ended - began
  return result
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
