import { UserError } from '@ddpm/shared'
import { byteCount, portNumber, wholeBetween } from '@ddpm/shared/cli'
import { type Command, Option } from 'commander'
import type { EngineRequest } from '../../engines/choose.ts'
import { type Recipe, recipeFields, recipes } from '../../run/recipes.ts'
import { devices, engineNames } from '../../step/engine.ts'

/** Fields of the recipe as they were given, text. */
type Given = Partial<Record<keyof typeof recipeFields, unknown>>

/** What stands on the command line. */
export interface Options extends Given, EngineRequest {
  readonly recipe?: string
  readonly out?: string
  readonly resume?: string
  readonly threads?: number
  readonly cache?: number
  readonly dashboard?: number | true
}

export function addOptions(command: Command): void {
  command
    .option(
      '--recipe <name|file.json>',
      `where to begin: ${Object.keys(recipes).join(', ')}, or a JSON file of fields`,
    )
    .option('--out <folder>', 'where the run goes (default: runs/RECIPE)')
    .option('--resume <folder>', 'go on with a run that was stopped')
    .addOption(
      new Option('--engine <name>', 'what computes: the fastest that works here, or one')
        .choices(['auto', ...engineNames])
        .default('auto'),
    )
    .addOption(
      new Option('--device <name>', 'where it computes; see npm run doctor')
        .choices(['auto', ...devices])
        .default('auto'),
    )
    .option('--threads <n>', 'CPU threads (default: all)', wholeBetween(1, 1024))
    .option(
      '--cache <size>',
      'memory for the pictures of a folder, as in 500MB; those beyond it are decoded whenever their turn comes ' +
        '(default: a quarter of what is free)',
      byteCount,
    )
    .option('--dashboard [port]', 'watch it in a browser: curves, samples, time left', portNumber)
  command.optionsGroup('Fields of the recipe, where they are to differ from it:')
  for (const [field, [value, , description]] of Object.entries(recipeFields)) {
    command.option(`${flag(field)} <${value}>`, description)
  }
}

/** How a field of the recipe is called on the command line. */
export function flag(field: string): string {
  return `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** The fields of the recipe that were given on the command line, read. */
export function readOverrides(options: Options): Partial<Recipe> {
  return Object.fromEntries(
    Object.entries(recipeFields).flatMap(([field, [, parse]]) => {
      const text = options[field as keyof Given]
      if (typeof text !== 'string') return []
      try {
        return [[field, parse(text)]]
      } catch (error) {
        if (error instanceof UserError) throw new UserError(`${flag(field)}: ${error.message}`)
        throw error
      }
    }),
  )
}
