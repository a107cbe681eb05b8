import { existsSync, readdirSync } from 'node:fs'
import { UserError } from '@ddpm/shared'
import type { Candidate, Device, EngineName } from '../step/engine.ts'
import type { StepSpec } from '../step/spec.ts'
import type { EngineOptions } from './open.ts'
import { type ProbeResult, probe } from './probe.ts'
import { isSoftware } from './vulkan.ts'

/** Values of --engine and --device. */
export interface EngineRequest {
  readonly engine: EngineName | 'auto'
  readonly device: Device | 'auto'
}

export interface Choice extends Candidate {
  /** Why this candidate was chosen; null if the request allows only one. */
  readonly reason: string | null
}

/** All candidates, ordered by expected speed. */
export const candidates: readonly Candidate[] = [
  { engine: 'onnxruntime', device: 'cuda' },
  { engine: 'tfjs', device: 'cuda' },
  { engine: 'onnxruntime', device: 'webgpu' },
  { engine: 'tfjs', device: 'webgpu' },
  { engine: 'onnxruntime', device: 'cpu' },
  { engine: 'tfjs', device: 'cpu' },
]

/**
 * Timeout of a probe. It includes the compilation of shaders. A graphics card that needs more time would not be the fastest
 * candidate.
 */
const timeoutSeconds = 60

/** Access to the machine, replaced in tests. */
interface Machine {
  readonly hasGraphicsCard: () => boolean
  readonly measure: (candidate: Candidate) => Promise<ProbeResult>
}

/**
 * Chooses an engine and a device for a network: the fastest candidate that works. Each candidate runs training steps of this
 * network in a child process. Nothing is measured if the machine has no graphics card, or if the request is for the CPU or
 * for a single candidate.
 * @throws UserError with the reasons if no requested candidate works
 */
export async function chooseEngine(
  request: EngineRequest,
  spec: StepSpec,
  options: EngineOptions = {},
  {
    hasGraphicsCard = mayHaveGraphicsCard,
    measure = (candidate) => probe(candidate, spec, { seconds: timeoutSeconds, ...options }),
  }: Partial<Machine> = {},
): Promise<Choice> {
  const requested = candidates.filter(
    ({ engine, device }) =>
      (request.engine === 'auto' || request.engine === engine) &&
      (request.device === 'auto' || request.device === device),
  )
  if (requested.length === 1) return { ...requested[0]!, reason: null }

  // On a CPU, onnxruntime's compiled step is many times faster than TensorFlow.js: no need to measure both.
  const onCpu = requested.find(({ device }) => device === 'cpu')
  const onCards = requested.filter(({ device }) => device !== 'cpu')
  if (onCards.length === 0) return { ...onCpu!, reason: 'fastest engine on a CPU' }
  if (onCpu && !hasGraphicsCard()) return { ...onCpu, reason: 'this machine has no graphics card' }

  const working: { candidate: Candidate; milliseconds: number }[] = []
  const failures: string[] = []
  const tryCandidate = async (candidate: Candidate, allowSoftware: boolean) => {
    const result = await measure(candidate)
    if (!result.works) failures.push(`${formatCandidate(candidate)}: ${result.reason}`)
    else if (!allowSoftware && isSoftware(result.description))
      failures.push(
        `${formatCandidate(candidate)}: ${result.description} is a software renderer, not a graphics card`,
      )
    else working.push({ candidate, milliseconds: result.milliseconds })
  }
  for (const candidate of onCards) await tryCandidate(candidate, request.device === candidate.device)
  if (working.length === 0) {
    const reasons = failures.map((failure) => failure.split('\n', 1)[0])
    if (onCpu) return { ...onCpu, reason: `no graphics card can be used (${reasons.join('; ')})` }
    throw new UserError(
      `Cannot train on --device ${request.device}:\n\n${failures.map((failure) => `${failure}\n\n`).join('')}` +
        'To train without a graphics card, use --device cpu.',
    )
  }
  if (onCpu) await tryCandidate(onCpu, true)
  working.sort((a, b) => a.milliseconds - b.milliseconds)
  const times = working.map(
    ({ candidate, milliseconds }) => `${formatCandidate(candidate)} ${milliseconds.toFixed(0)} ms`,
  )
  return { ...working[0]!.candidate, reason: `fastest training step (${times.join(', ')})` }
}

/** Formats a candidate for messages, such as "onnxruntime on cpu". */
export function formatCandidate({ engine, device }: Candidate): string {
  return `${engine} on ${device}`
}

/** Returns whether the system may have a graphics card. If not, no probe is needed. */
function mayHaveGraphicsCard(): boolean {
  if (process.platform !== 'linux') return true
  if (['/dev/nvidiactl', '/dev/dxg', '/dev/kfd'].some((path) => existsSync(path))) return true
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('render'))
}
