import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { createSchedule, UserError } from '@ddpm/shared'
import { suggest, wholeNumberOf } from '@ddpm/shared/cli'
import * as z from 'zod'
import { type Recipe, type RecipeField, recipeFields, recipeSchema, recipes } from './recipes.ts'

/** Opens a built-in recipe by name, or a recipe file: JSON fields that override those of the recipe named in `recipe`. */
export function openRecipe(nameOrFile: string): Recipe {
  return nameOrFile.endsWith('.json') ? readRecipeFile(nameOrFile) : recipeNamed(nameOrFile)
}

/** Old names of recipes that runs, recipe files and scripts may still contain. */
const renamed: ReadonlyMap<string, string> = new Map([['pictures', 'images']])

/** Returns the current name of a recipe. */
export function currentName(name: string): string {
  return renamed.get(name) ?? name
}

function recipeNamed(name: string, source?: string): Recipe {
  const recipe = Object.hasOwn(recipes, currentName(name)) ? recipes[currentName(name)] : undefined
  if (recipe) return recipe
  const names = Object.keys(recipes)
  throw new UserError(
    `Unknown recipe "${name}"${inSource(source)}: expected ${joinAlternatives(names)}` +
      `${source === undefined ? ', or a JSON file' : ''}.${suggest(name, names)}`,
  )
}

function readRecipeFile(path: string): Recipe {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UserError(code ? `Cannot read ${path}: ${message}.` : `Invalid JSON in ${path}: ${message}.`)
  }
  const example = 'for example {"recipe": "images", "steps": 20000}'
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UserError(`Invalid recipe file ${path}: expected a JSON object, ${example}.`)
  }
  const { recipe: base, ...fields } = json as Record<string, unknown>
  if (typeof base !== 'string') {
    throw new UserError(
      `Invalid recipe file ${path}: expected "recipe" to name the recipe that it is based on, ${example}.`,
    )
  }
  return parseRecipe({ ...recipeNamed(base, path), ...fields, recipe: basename(path, '.json') }, path)
}

/**
 * Parses a recipe. Fields that are missing get their defaults, so recipes of older versions can be read.
 * @param source file that the recipe is from, for messages
 * @throws UserError if a field is unknown, has another type or is out of bounds
 */
export function parseRecipe(json: Readonly<Record<string, unknown>>, source?: string): Recipe {
  const { data, error } = recipeSchema.safeParse(json)
  if (data) return data
  const issue = error.issues[0]!
  if (issue.code === 'unrecognized_keys') {
    const names = Object.keys(recipeSchema.shape)
    const [unknown] = issue.keys as [string]
    const advice = suggest(unknown, names) || ` Known fields: ${names.join(', ')}.`
    throw new UserError(`Unknown recipe field "${unknown}"${inSource(source)}.${advice}`)
  }
  const name = issue.path[0] as keyof Recipe
  throw invalid(`${name} ${formatValue(json[name])}${inSource(source)}`, recipeSchema.shape[name], json[name])
}

/**
 * Parses the value of a field from the command line: lists are separated by commas.
 * @param label name of the option, for messages
 * @throws UserError if the value has another type or is out of bounds
 */
export function parseField(name: RecipeField, text: string, label: string): unknown {
  const type = recipeFields[name]
  const { data, success } = type.safeParse(fromText(type, text))
  if (success) return data
  throw invalid(`${label} "${text}"`, type, text)
}

/** Returns the placeholder and the help text of a field. The help text lists the choices, if the field has any. */
export function helpOf(name: RecipeField): { placeholder: string; description: string; isBoolean: boolean } {
  const type = recipeFields[name]
  const { placeholder, description } = type.meta() as { placeholder: string; description: string }
  const choices = unwrap(type) instanceof z.ZodLiteral ? `: ${describe(type)}` : ''
  return { placeholder, description: description + choices, isBoolean: unwrap(type) instanceof z.ZodBoolean }
}

/**
 * Checks that a recipe can be trained.
 * @throws UserError that names the field, its value and the expected values
 */
export function validateRecipe(recipe: Recipe): void {
  const { batchSize, accumulate, zeroTerminalSnr, predictionType } = parseRecipe(recipe)
  if (zeroTerminalSnr && predictionType === 'epsilon') {
    throw new UserError(
      'Invalid predictionType epsilon with zeroTerminalSnr: expected x0 or v, because pure noise contains no ' +
        'information about the image.',
    )
  }
  if (batchSize % accumulate !== 0) {
    throw new UserError(
      `Invalid accumulate ${accumulate}: expected a divisor of batchSize ${batchSize}, because all micro-batches of a ` +
        'step have the same size.',
    )
  }
  createSchedule(recipe)
}

/** Lists the fields in which two recipes differ, one line each. */
export function differences(actual: Partial<Recipe>, expected: Recipe): string[] {
  return (Object.keys(actual) as (keyof Recipe)[])
    .filter((name) => !isDeepStrictEqual(actual[name], expected[name]))
    .map((name) => `${name}: expected ${JSON.stringify(expected[name])}, got ${JSON.stringify(actual[name])}`)
}

/** Returns the type inside the wrappers for default, null and readonly, which do not change how a value is written. */
function unwrap(type: z.core.$ZodType): z.core.$ZodType {
  const isWrapped =
    type instanceof z.ZodDefault || type instanceof z.ZodNullable || type instanceof z.ZodReadonly
  return isWrapped ? unwrap(type.def.innerType) : type
}

/** Converts text to the JSON value that a type expects. Text that cannot be converted stays text, which is invalid. */
function fromText(wrapped: z.core.$ZodType, text: string): unknown {
  const type = unwrap(wrapped)
  if (type instanceof z.ZodArray) return text.split(',').map((part) => fromText(type.element, part.trim()))
  if (type instanceof z.ZodUnion) return wholeNumberOf(text) ?? text
  if (type instanceof z.ZodBoolean) return text === 'true' || (text === 'false' ? false : text)
  if (type instanceof z.ZodLiteral) return [...type.values].find((value) => String(value) === text) ?? text
  if (type instanceof z.ZodNumber) {
    if (type.isInt) return wholeNumberOf(text) ?? text
    return text.trim() === '' ? text : Number(text)
  }
  return text
}

/** Describes the values of a type, for messages and `--help`. */
function describe(wrapped: z.core.$ZodType): string {
  const type = unwrap(wrapped)
  if (type instanceof z.ZodArray) return `a list in which each value is ${describe(type.element)}`
  if (type instanceof z.ZodUnion) return joinAlternatives(type.options.map(describe))
  if (type instanceof z.ZodBoolean) return 'true or false'
  if (type instanceof z.ZodLiteral) return joinAlternatives([...type.values].map(String))
  if (!(type instanceof z.ZodNumber)) return (type instanceof z.ZodType && type.description) || 'text'
  const noun = type.isInt ? 'an integer' : 'a number'
  const [min, max] = [type.minValue ?? -Infinity, type.maxValue ?? Infinity]
  if (min === -Number.MAX_VALUE) return noun
  return max === Number.MAX_SAFE_INTEGER ? `${noun} of at least ${min}` : `${noun} from ${min} to ${max}`
}

function invalid(what: string, wrapped: z.core.$ZodType, value: unknown): UserError {
  const type = unwrap(wrapped)
  const names =
    type instanceof z.ZodLiteral ? [...type.values].filter((name) => typeof name === 'string') : []
  return new UserError(`Invalid ${what}: expected ${describe(type)}.${suggest(String(value), names)}`)
}

function formatValue(value: unknown): string {
  return typeof value === 'number' || value === undefined ? String(value) : JSON.stringify(value)
}

function inSource(source?: string): string {
  return source === undefined ? '' : ` in ${source}`
}

/** Joins alternatives: "a, b or c". */
function joinAlternatives(alternatives: readonly string[]): string {
  return new Intl.ListFormat('en-GB', { type: 'disjunction' }).format(alternatives)
}
