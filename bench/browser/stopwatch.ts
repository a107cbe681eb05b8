/**
 * Wraps onnxruntime-web in the sampler module's worker to measure the parts of the time: the calls of `run`, the copying of
 * outputs, and the time from there to the next `run`.
 */
import * as ort from 'onnxruntime-web'

export * from 'onnxruntime-web'

/** Times in milliseconds since the last call of `takeTimes`. */
export interface Times {
  network: number
  readBack: number
  /** From one evaluation to the next: sampler arithmetic, noise, previews and messages. */
  between: number
}

const none: Times = { network: 0, readBack: 0, between: 0 }
let times = { ...none }
/** End of the latest measured call; null if there is none yet. */
let lastEnd: number | null = null

/** The benchmark calls this function through the browser's debugger. */
Object.assign(globalThis, {
  takeTimes(): Times {
    const result = times
    times = { ...none }
    lastEnd = null
    return result
  },
})

async function timed<T>(part: 'network' | 'readBack', work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  if (lastEnd !== null) times.between += start - lastEnd
  const result = await work()
  lastEnd = performance.now()
  times[part] += lastEnd - start
  return result
}

export const InferenceSession: ort.InferenceSessionFactory = {
  create: async (...args: unknown[]) => {
    const create = ort.InferenceSession.create as (...args: unknown[]) => Promise<ort.InferenceSession>
    const session = await create(...args)
    const run = session.run.bind(session) as (...args: unknown[]) => Promise<ort.InferenceSession.ReturnType>
    session.run = async (...args: unknown[]) => {
      const results = await timed('network', () => run(...args))
      for (const result of Object.values(results)) {
        const getData = result.getData.bind(result)
        result.getData = (release) => timed('readBack', () => getData(release))
      }
      return results
    }
    return session
  },
}
