import { parseByteCount, parsePort, parseTime, parseWholeNumberWithin } from '@ddpm/shared/cli'
import { type Command, Option } from 'commander'
import type { EngineRequest } from '../../engines/choose.ts'
import { helpOf, parseField } from '../../run/recipe-reader.ts'
import { type Recipe, type RecipeField, recipeFields, recipes } from '../../run/recipes.ts'
import { devices, engineNames } from '../../step/engine.ts'

/** Options of `npm run train`. Recipe fields are still text. */
export interface Options extends Partial<Record<RecipeField, unknown>>, EngineRequest {
  readonly recipe?: string
  readonly out?: string
  /** Time to train for, in seconds. */
  readonly time?: number
  readonly resume?: string
  /** Only inspect the images; the value is the file of the contact sheet. */
  readonly dryRun?: string | true
  /** Number of CPU threads. Default: all. */
  readonly threads?: number
  /** Max bytes of decoded images to cache in memory. */
  readonly cache?: number
  /** Whether to write TensorBoard event files. */
  readonly tensorboard?: true
  /** Port of the dashboard; true is the default port. */
  readonly dashboard?: number | true
}

const fieldNames = Object.keys(recipeFields) as RecipeField[]

export function addOptions(command: Command): void {
  command
    .option(
      '--recipe <name|file.json>',
      `recipe to start from: ${Object.keys(recipes).join(', ')}, or a JSON file of fields ` +
        '(default: shapes; with --data faces, faces; with other data, images)',
    )
    .option('--out <folder>', 'folder of the new run (default: runs/RECIPE)')
    .option(
      '--time <duration>',
      'train about this long, for example 30m or 2h; without --recipe and --from, also choose the network and batch size ' +
        'for it (default for own images: 1h, unless --steps or --recipe is set)',
      parseTime,
    )
    .option('--resume <folder>', 'resume a stopped run')
    .option(
      '--dry-run [file.png]',
      'train nothing: check the images, write a contact sheet (default: contact-sheet.png) and measure the cost',
    )
    .addOption(
      new Option('--engine <name>', 'training engine; auto chooses the fastest')
        .choices(['auto', ...engineNames])
        .default('auto'),
    )
    .addOption(
      new Option('--device <name>', 'device to train on; npm run doctor lists those available')
        .choices(['auto', ...devices])
        .default('auto'),
    )
    .option('--threads <n>', 'CPU threads (default: all)', parseWholeNumberWithin(1, 1024))
    .option(
      '--cache <size>',
      'memory for decoded images of a folder, for example 500MB; the other images are decoded each time they are used ' +
        '(default: a quarter of the free memory)',
      parseByteCount,
    )
    .option(
      '--dashboard [port]',
      'serve a dashboard with loss curves, samples and the remaining time',
      parsePort,
    )
  command.option('--tensorboard', "also write metrics and samples as TensorBoard files in the run's folder")
  command.optionsGroup('Recipe fields (default: the value in the recipe):')
  for (const field of fieldNames) {
    const { placeholder, description, isBoolean } = helpOf(field)
    // A boolean flag without a value means true.
    command.option(`${flag(field)} ${isBoolean ? `[${placeholder}]` : `<${placeholder}>`}`, description)
  }
}

/** Returns the CLI flag of a recipe field. */
export function flag(field: string): string {
  return `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** Parses the recipe fields that were passed on the command line. */
export function readOverrides(options: Options): Partial<Recipe> {
  return Object.fromEntries(
    fieldNames.flatMap((field) => {
      const text = options[field]
      if (text === undefined) return []
      return [[field, text === true || parseField(field, text as string, flag(field))]]
    }),
  )
}
