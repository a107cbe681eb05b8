import type { Settings } from '../settings/settings.ts'

/** Describes settings in one line. */
export function captionOf(settings: Settings): string {
  const { model, guidance, seed, sampler, steps } = settings
  return [
    model,
    ...(settings.class === null ? [] : [settings.class]),
    ...(guidance === 1 ? [] : [`guidance ${guidance}`]),
    `seed ${seed}`,
    ...describeStart(settings),
    `${sampler}, ${steps} steps`,
  ].join(' · ')
}

function describeStart({ seed, start }: Settings): string[] {
  switch (start.kind) {
    case 'noise':
      return []
    case 'variation':
      return [`variations of image ${start.image + 1}`, `distance ${start.distance}`]
    case 'interpolation': {
      const otherSeed = start.to.seed === seed ? '' : ` of seed ${start.to.seed}`
      return [`image ${start.image + 1} to image ${start.to.image + 1}${otherSeed}`]
    }
    case 'image':
      return [`from an image, strength ${start.strength}`, ...(start.mask ? ['inpainted'] : [])]
  }
}

/** Returns the base name for downloaded files: model and seed. */
export function fileNameOf({ model, seed }: Settings): string {
  return `${model.split('/')[1]}-seed${seed}`
}
