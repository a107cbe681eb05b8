import { existsSync, readdirSync } from 'node:fs'
import { UserError } from '@ddpm/shared'
import type { Candidate, Device, EngineName } from '../step/engine.ts'
import type { StepSpec } from '../step/step.ts'
import type { EngineOptions } from './open.ts'
import { type ProbeResult, probe } from './probe.ts'
import { isSoftware } from './vulkan.ts'

/** What was asked for on the command line. */
export interface EngineRequest {
  readonly engine: EngineName | 'auto'
  readonly device: Device | 'auto'
}

export interface Choice extends Candidate {
  /** Why this one; null where there was nothing to choose. */
  readonly reason: string | null
}

/** All there are, the likely fastest first. */
export const candidates: readonly Candidate[] = [
  { engine: 'onnxruntime', device: 'cuda' },
  { engine: 'tfjs', device: 'cuda' },
  { engine: 'onnxruntime', device: 'webgpu' },
  { engine: 'tfjs', device: 'webgpu' },
  { engine: 'onnxruntime', device: 'cpu' },
  { engine: 'tfjs', device: 'cpu' },
]

/** Long enough for a graphics card to compile its programs; one that needs longer would not be the fastest. */
const patience = 60

/** What the choice looks at; tests look at something else. */
interface Surroundings {
  readonly hasGraphicsCard: () => boolean
  readonly measure: (candidate: Candidate) => Promise<ProbeResult>
}

/**
 * Chooses engine and device for a network: of those that work here, the fastest at its own training step, each measured
 * in a process of its own. Where no graphics card can be, it does not look for one.
 * @throws UserError where nothing that was asked for works, with the reasons
 */
export async function chooseEngine(
  wish: EngineRequest,
  spec: StepSpec,
  options: EngineOptions = {},
  {
    hasGraphicsCard = mayHaveGraphicsCard,
    measure = (candidate) => probe(candidate, spec, { seconds: patience, ...options }),
  }: Partial<Surroundings> = {},
): Promise<Choice> {
  const asked = candidates.filter(
    ({ engine, device }) =>
      (wish.engine === 'auto' || wish.engine === engine) &&
      (wish.device === 'auto' || wish.device === device),
  )
  const [first] = asked
  if (asked.length === 1) return { ...first!, reason: null }

  // On a CPU the compiled step is many times faster than the eager one: not worth measuring.
  const onCpu = asked.find(({ device }) => device === 'cpu')
  const onCards = asked.filter(({ device }) => device !== 'cpu')
  if (onCards.length === 0) return { ...onCpu!, reason: 'the faster of the two on a CPU' }
  if (onCpu && !hasGraphicsCard()) return { ...onCpu, reason: 'this machine shows no graphics card' }

  const working: { candidate: Candidate; milliseconds: number }[] = []
  const failures: string[] = []
  const look = async (candidate: Candidate, mayBeSoftware: boolean) => {
    const finding = await measure(candidate)
    if (!finding.works) failures.push(`${nameOf(candidate)}: ${finding.reason.split('\n')[0]}`)
    else if (!mayBeSoftware && isSoftware(finding.description))
      failures.push(`${nameOf(candidate)}: ${finding.description} is no graphics card`)
    else working.push({ candidate, milliseconds: finding.milliseconds })
  }
  for (const candidate of onCards) await look(candidate, wish.device === candidate.device)
  if (working.length === 0) {
    if (onCpu) return { ...onCpu, reason: `no graphics card works (${failures.join('; ')})` }
    throw new UserError(
      `Nothing computes on ${wish.device} here:\n${failures.map((line) => `  ${line}\n`).join('')}` +
        'Use --device cpu; `npm run doctor` says what would make each of them work.',
    )
  }
  if (onCpu) await look(onCpu, true)
  working.sort((a, b) => a.milliseconds - b.milliseconds)
  const times = working.map(
    ({ candidate, milliseconds }) => `${nameOf(candidate)} ${milliseconds.toFixed(0)} ms`,
  )
  return { ...working[0]!.candidate, reason: `a training step takes ${times.join(', ')}` }
}

export function nameOf({ engine, device }: Candidate): string {
  return `${engine} on ${device}`
}

/** Whether the system shows a graphics card at all; looking for one otherwise would only take time. */
function mayHaveGraphicsCard(): boolean {
  if (process.platform !== 'linux') return true
  if (['/dev/nvidiactl', '/dev/dxg', '/dev/kfd'].some((path) => existsSync(path))) return true
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('render'))
}
