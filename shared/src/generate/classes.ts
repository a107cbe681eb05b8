import { UserError } from '../base/errors.ts'
import { domains, uniforms } from '../random/random.ts'
import type { ModelInfo } from './model.ts'

/** Returns the words that several class names share. Each can be used instead of a class name. */
export function sharedWords(classes: readonly string[]): string[] {
  const words = classes.flatMap((name) => [...new Set(name.split(' '))])
  return [...new Set(words.filter((word, i) => words.indexOf(word) !== i && !classes.includes(word)))]
}

/**
 * Returns the class of an image of a seed: one of the classes that match `name`, at random. Returns null if the model has no
 * classes.
 * @param name class name or shared word; null matches every class
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
 * Returns the labels of the classes that match a class name or a shared word. Returns all labels if `name` is null.
 * @throws UserError if no class matches
 */
export function matchingLabels(classes: readonly string[], name: string | null): number[] {
  const labels = [...classes.keys()]
  if (name === null) return labels
  const exact = classes.indexOf(name)
  if (exact >= 0) return [exact]
  const matches = labels.filter((label) => classes[label]!.split(' ').includes(name))
  if (matches.length > 0) return matches
  throw new UserError(
    classes.length === 0
      ? `Unknown class "${name}": this model was trained without classes. Omit the class.`
      : `Unknown class "${name}": expected one of ${classes.join(', ')}.`,
  )
}
