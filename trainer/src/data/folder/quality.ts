import { summarize } from '../../support/summarize.ts'
import type { ImageSource } from '../dataset/dataset.ts'
import type { Size } from '../dataset/size.ts'

/** Below this number of different images, a model mostly memorizes them. */
const fewImages = 200

/** Properties of an image that decide whether it is useful for training. */
export interface ImageQuality extends ImageSource {
  readonly enlarged: boolean
}

/** Returns warnings about duplicated, enlarged and too few images, and how many images are useful. */
export function describeQuality(images: readonly ImageQuality[], { width, height }: Size): string[] {
  const groups = [...Map.groupBy(images, ({ sha1 }) => sha1).values()]
  const duplicates = groups.flatMap(([first, ...copies]) =>
    copies.map(({ path }) => `${path} (= ${first!.path})`),
  )
  const originals = groups.map(([first]) => first!)
  const enlarged = originals.filter((image) => image.enlarged).map(({ path }) => path)
  const useful = originals.length - enlarged.length
  const warnings: string[] = []
  if (duplicates.length > 0)
    warnings.push(
      `${duplicates.length} ${duplicates.length === 1 ? 'image is a copy' : 'images are copies'} of another at ` +
        `${width}×${height}: ${summarize(duplicates)}. A copy gives an image more weight. Remove the copies.`,
    )
  if (enlarged.length > 0)
    warnings.push(
      `${enlarged.length} ${enlarged.length === 1 ? 'image is' : 'images are'} smaller than ${width}×${height} and ` +
        `enlarged: ${summarize(enlarged)}. The model learns the blur. Use a smaller --size or larger images.`,
    )
  if (warnings.length > 0) warnings.push(`${useful} of the ${images.length} images are useful.`)
  if (useful < fewImages)
    warnings.push(
      `${useful} different images of sufficient size are few: the model mostly memorizes them. Use ${fewImages} or more.`,
    )
  return warnings
}
