export { prefersReducedData } from '@ddpm/shared/dom'

/** Preferences that visitors set in their browser or operating system. */

export function prefersReducedMotion(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches
}

/** Returns the scroll behaviour that respects the motion preference. */
export function scrollBehavior(): ScrollBehavior {
  return prefersReducedMotion() ? 'auto' : 'smooth'
}
