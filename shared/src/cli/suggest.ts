// leven is one small, maintained file that computes the edit distance and finds the nearest word.
import { closestMatch } from 'leven'

/**
 * Returns " Did you mean "train"?" for the candidate nearest to a mistyped word, or '' if no candidate is near.
 * @param candidates the valid words
 */
export function suggest(word: string, candidates: readonly string[]): string {
  const lowerCase = new Map(candidates.map((candidate) => [candidate.toLowerCase(), candidate]))
  const maxDistance = Math.max(2, Math.floor(word.length / 3))
  const nearest = closestMatch(word.toLowerCase(), [...lowerCase.keys()], { maxDistance })
  return nearest === undefined ? '' : ` Did you mean "${lowerCase.get(nearest)}"?`
}
