import { join } from 'node:path'
import { classOf, UserError } from '@ddpm/shared'
import { digest } from '../../evaluation/inputs/cache.ts'
import { describeStop, type SampleOptions, sampleCached } from '../../evaluation/inputs/generated.ts'
import {
  countImages,
  type EvaluationSet,
  type Images,
  modelFolder,
  modelInfo,
  openEvaluationSet,
  openRealImages,
} from '../../evaluation/inputs/images.ts'
import { readSampleFolders, toChannels } from '../../evaluation/inputs/sample-folders.ts'
import { generatedBy, type QualityRequest } from '../../evaluation/quality.ts'
import { openModel } from '../../inference/model.ts'
import { runLongTask } from '../terminal/long-task.ts'
import { samplerOptionsOf } from '../terminal/sampler-options.ts'
import type { Options } from './options.ts'

/** Samples to evaluate. */
export interface Samples {
  readonly images: Images
  readonly origin: QualityRequest['origin']
  /** The class that each sample was generated for; null if it is unknown or the model has no classes. */
  readonly classNames: readonly string[] | null
  /** Files that the samples were read from; null if a model generated them. */
  readonly paths: readonly string[] | null
}

/** Where samples and real images come from. */
export interface Inputs {
  /** Output folder. */
  readonly folder: string
  readonly set: EvaluationSet
  /** Number of samples if all are read from folders; null if any number can be generated. */
  readonly available: number | null
  /** Generates or returns the first `count` samples; null if stopped. */
  samples(count: number): Promise<Samples | null>
  dispose(): Promise<void>
}

/** Opens a model that generates the samples. */
export async function openModelInputs(path: string, options: Options): Promise<Inputs> {
  const model = await openModel(path, options.weights)
  const { info } = model
  const { guidance, class: className, seed, weights } = options
  if (guidance !== undefined && info.classes.length === 0) {
    throw new UserError(
      `Invalid --guidance ${guidance}: this model was trained without classes, and guidance amplifies the class. Remove ` +
        '--guidance.',
    )
  }
  const folder = options.out ?? join(modelFolder(path), 'evaluation')
  const sampling: SampleOptions = {
    ...samplerOptionsOf(options),
    seed,
    ...(guidance !== undefined && { guidance }),
    ...(className !== undefined && { className }),
  }
  return {
    folder,
    set: await openEvaluationSet(path, info, options, 'train'),
    available: null,
    async samples(count) {
      const { value: images, stopped } = await runLongTask('Generating', count, (report) =>
        sampleCached(folder, model, sampling, count, report),
      )
      if (countImages(images) < count) {
        console.log(describeStop(images, count))
        process.exitCode = stopped ?? 1
        return null
      }
      const classAt = (image: number) => classOf(info, { seed, image, name: className ?? null })!
      return {
        images,
        origin: generatedBy(model, weights, sampling, count),
        classNames:
          info.classes.length === 0 ? null : Array.from({ length: count }, (_, image) => classAt(image)),
        paths: null,
      }
    },
    dispose: () => model.dispose(),
  }
}

/**
 * Opens folders of samples.
 * @param path model that determines the real images and their size; undefined if `options.data` does
 */
export async function openFolderInputs(
  path: string | undefined,
  folders: readonly string[],
  options: Options,
): Promise<Inputs> {
  const info = path === undefined ? null : modelInfo(path)
  const read = await readSampleFolders(folders, info?.shape ?? null, (warning) => console.warn(warning))
  const set =
    info === null
      ? await openRealImages(options.data!, read.images)
      : await openEvaluationSet(path!, info, options, 'train')
  const { channels } = set.dataset
  if (read.images.channels > channels) {
    throw new UserError(
      `Invalid --samples: expected greyscale images as in ${set.source}, got images with colour. Pass samples of a model ` +
        'of these images.',
    )
  }
  const images = toChannels(read.images, channels)
  const available = countImages(images)
  return {
    folder: options.out ?? (path === undefined ? 'evaluation' : join(modelFolder(path), 'evaluation')),
    set,
    available,
    async samples(count) {
      if (count > available) {
        throw new UserError(
          `Too few samples: expected ${count}, got ${available} images in ${folders.join(', ')}. Generate more, or lower the ` +
            'number.',
        )
      }
      const pixels = images.pixels.subarray(0, (images.pixels.length / available) * count)
      return {
        images: { ...images, pixels },
        origin: { generated: { count, folders, digest: digest(pixels) } },
        classNames: null,
        paths: read.paths.slice(0, count),
      }
    },
    dispose: async () => {},
  }
}
