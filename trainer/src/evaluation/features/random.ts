import { type Dataset, toSigned } from '../../data/dataset/dataset.ts'
import { initialize } from '../../network/parameters.ts'
import { digest } from '../inputs/cache.ts'
import { selectImages } from '../inputs/images.ts'
import { classifierLayout, featureDims, openClassifier } from './classifier-network.ts'
import { type Extractor, extractInBatches } from './extractor.ts'

/** Seed of the weights. Another seed is another extractor. */
const seed = 0
/** Max number of images that determine the scale of the features. */
const scaleImages = 1000

/**
 * Opens the features of the untrained classifier network with random weights, for images without labels. Random features
 * need no training, so they do not overfit small datasets, and no images that the training images must resemble
 * (Naeem et al. 2020).
 * @param dataset images that determine the scale of the features, which have a root mean square of 1 as KID's kernel needs
 */
export async function openRandomExtractor(dataset: Dataset): Promise<Extractor> {
  const { channels, height, width } = dataset
  const spec = { channels, height, width, classes: 1 }
  const parameters = initialize(classifierLayout(spec), seed)
  const network = await openClassifier(spec, parameters)
  const run = async (pixels: Uint8Array, n: number) =>
    (await network.run(Float32Array.from(pixels, toSigned), n)).features
  const { values } = await extractInBatches(selectImages(dataset, scaleImages, seed), run)
  // A constant, if the features of all images were 0.
  const scale = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length) || 1
  return {
    description: `a convolutional network with random weights (${featureDims} features, seed ${seed}), because there are no labels`,
    digest: digest(parameters, Float64Array.of(scale)),
    extract: (images) =>
      extractInBatches(images, async (pixels, n) => (await run(pixels, n)).map((value) => value / scale)),
    dispose: () => network.dispose(),
  }
}
