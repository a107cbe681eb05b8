import { UserError } from '../base/errors.ts'
import { domains, uniforms } from '../random/random.ts'
import type { ModelInfo } from './model.ts'

/** Returns the words of a class name: separated by commas if there are any, as in "long hair, hat", or by spaces. */
export function classWords(name: string): string[] {
  return name.split(name.includes(',') ? /,\s*/ : ' ')
}

/** Returns the words that several class names share. Each can be used instead of a class name. */
export function sharedWords(classes: readonly string[]): string[] {
  const words = classes.flatMap((name) => [...new Set(classWords(name))])
  return [...new Set(words.filter((word, i) => words.indexOf(word) !== i && !classes.includes(word)))]
}

/**
 * Returns the class of an image of a seed: one of the classes that match `name`, at random. Returns null if the model has no
 * classes.
 * @param name class name, shared word, or several shared words separated by commas; null matches every class
 * @throws UserError if no class matches
 */
export function classOf(
  { classes }: Pick<ModelInfo, 'classes'>,
  { seed, image, name }: { seed: number; image: number; name: string | null },
): string | null {
  return classes[labelOf(matchingLabels(classes, name), seed, image)] ?? null
}

/**
 * Returns the label of a class: the first that matches `name`, or the label for "no class" if `name` is null.
 * @throws UserError if no class matches
 */
export function classLabel({ classes }: Pick<ModelInfo, 'classes'>, name: string | null): number {
  return name === null ? classes.length : matchingLabels(classes, name)[0]!
}

/** Returns one of the labels at random. Seed and image determine which. Returns 0 if there are no labels. */
export function labelOf(labels: readonly number[], seed: number, image: number): number {
  const [u] = uniforms(seed, { domain: domains.label, image, step: 0 }, 1)
  return labels[Math.floor(u! * labels.length)] ?? 0
}

/**
 * Returns the labels of the classes that match a class name or contain all of the words, such as "hat, long hair". Returns
 * all labels if `name` is null.
 * @throws UserError if no class matches
 */
export function matchingLabels(classes: readonly string[], name: string | null): number[] {
  const labels = [...classes.keys()]
  if (name === null) return labels
  const exact = classes.indexOf(name)
  if (exact >= 0) return [exact]
  const requested = name.split(/,\s*/)
  const matches = labels.filter((label) => {
    const words = classWords(classes[label]!)
    return requested.every((word) => words.includes(word))
  })
  if (matches.length > 0) return matches
  throw new UserError(
    classes.length === 0
      ? `Unknown class "${name}": this model was trained without classes. Omit the class.`
      : `Unknown class "${name}": expected one of ${classes.join(', ')}.`,
  )
}
