/** Returns a random seed of at most six digits: short enough to read aloud. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 1e6)
}
