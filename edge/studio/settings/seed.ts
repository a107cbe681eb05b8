import { byId } from '../ui/dom.ts'
import { randomSeed } from '../ui/random-seed.ts'

/** The seed field with its lock. An unlocked seed changes with each generation. */
export interface SeedField {
  value: number
  /** The seed if it is locked and valid, otherwise null. */
  readonly locked: number | null
  /** Replaces the seed by a random one. */
  renew(): void
}

/** Connects the seed field. A seed that the visitor types is locked: someone who types a seed wants to see it. */
export function createSeedField(): SeedField {
  const input = byId('seed', HTMLInputElement)
  const lock = byId('lock-seed', HTMLButtonElement)
  const isLocked = () => lock.getAttribute('aria-pressed') === 'true'
  const setLocked = (locked: boolean) => {
    lock.setAttribute('aria-pressed', String(locked))
    lock.title = locked ? 'Take a new seed for each generation' : 'Keep this seed'
    byId('seed-note', HTMLElement).textContent = locked ? 'locked' : 'new each time'
  }
  setLocked(false)
  input.addEventListener('input', () => setLocked(true))
  lock.addEventListener('click', () => setLocked(!isLocked()))
  return {
    get value() {
      return Number(input.value)
    },
    set value(seed) {
      input.value = String(seed)
    },
    get locked() {
      return isLocked() && input.validity.valid ? Number(input.value) : null
    },
    renew() {
      input.value = String(randomSeed())
    },
  }
}
