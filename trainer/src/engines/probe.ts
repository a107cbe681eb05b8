import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { defaultUNet } from '../network/config.ts'
import type { Candidate } from '../step/engine.ts'
import type { StepSpec } from '../step/spec.ts'
import type { EngineOptions } from './open.ts'

/** Message to the child process: what to measure. */
export interface ProbeRequest {
  readonly candidate: Candidate
  readonly spec: StepSpec
  readonly options: EngineOptions
}

/** Message from the child process: the median time of a step, or why the candidate does not work. */
export type ProbeResult =
  | { readonly works: true; readonly description: string; readonly milliseconds: number }
  | { readonly works: false; readonly reason: string }

/** A network with every kind of layer, small enough for the slowest engine to finish in seconds. */
export const smallStep: StepSpec = {
  unet: {
    ...defaultUNet,
    baseChannels: 16,
    channelMultiples: [1, 2],
    attention: [false, true],
    numResBlocks: 1,
    dropout: 0,
  },
  height: 8,
  width: 8,
  batch: 4,
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: 1,
}

const program = fileURLToPath(new URL('probe-process.ts', import.meta.url))

/**
 * Measures a training step in a child process, because a graphics driver may crash the process or hang.
 * @param options.seconds timeout
 */
export function probe(
  candidate: Candidate,
  spec: StepSpec,
  { seconds, ...options }: { seconds: number } & EngineOptions,
): Promise<ProbeResult> {
  const child = fork(program, {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let stderr = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-2000)
  })
  child.send({ candidate, spec, options } satisfies ProbeRequest)
  return new Promise((resolve) => {
    const timeout = setTimeout(() => {
      child.kill('SIGKILL')
      resolve({ works: false, reason: `timeout: its training steps did not finish within ${seconds} s` })
    }, seconds * 1000)
    child.on('message', (result) => resolve(result as ProbeResult))
    child.on('close', (code, signal) => {
      clearTimeout(timeout)
      const lastLine = stderr.trim().split('\n').at(-1)
      resolve({
        works: false,
        reason: `its process ended with ${signal ?? `status ${code}`}${lastLine ? `: ${lastLine}` : ''}`,
      })
    })
  })
}
