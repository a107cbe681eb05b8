import { classWords, sharedWords } from 'ddpm-sampler'
import { make } from '../ui/dom.ts'

/** Classes whose names begin with the same word. */
export interface ClassGroup {
  readonly word: string
  readonly classes: readonly string[]
}

/** Groups classes by their first word. Returns null unless every class shares its first word with another one. */
export function groupClasses(classes: readonly string[]): ClassGroup[] | null {
  const groups = new Map<string, string[]>()
  for (const name of classes) {
    const word = classWords(name)[0]!
    groups.set(word, [...(groups.get(word) ?? []), name])
  }
  const isUseful = groups.size > 1 && [...groups.values()].every((members) => members.length > 1)
  return isUseful ? Array.from(groups, ([word, members]) => ({ word, classes: members })) : null
}

/** Fills the list of classes: any, the words that several classes share, and the classes, in groups if there are any. */
export function fillClasses(select: HTMLSelectElement, classes: readonly string[]): void {
  const groups = groupClasses(classes)
  // Colours before shapes, for example: the words that begin the names come first.
  const firstWords = groups?.map(({ word }) => word) ?? []
  const shared = sharedWords(classes)
  const words = [...firstWords, ...shared.filter((word) => !firstWords.includes(word))].filter((word) =>
    shared.includes(word),
  )
  const rest = () =>
    words.length > 0 ? [toGroup('one class', classes)] : classes.map((name) => toOption(name))
  select.replaceChildren(
    toOption('', 'any'),
    ...(words.length > 0 ? [toGroup('all of one kind', words)] : []),
    ...(groups?.map(({ word, classes }) => toGroup(word, classes)) ?? rest()),
  )
}

function toGroup(label: string, names: readonly string[]): HTMLOptGroupElement {
  return make('optgroup', { label }, ...names.map((name) => toOption(name)))
}

function toOption(value: string, text = value): HTMLOptionElement {
  return make('option', { value }, text)
}
