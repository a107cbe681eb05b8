import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { UserError } from '@ddpm/shared'
import { type Recipe, recipeFields, recipeNamed, recipes } from './recipes.ts'

/** A recipe by its name, or from a JSON file: fields as in config.json, over the recipe that `recipe` names. */
export function openRecipe(nameOrFile: string): Recipe {
  return nameOrFile.endsWith('.json') ? readRecipe(nameOrFile) : recipeNamed(nameOrFile)
}

function readRecipe(path: string): Recipe {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UserError(code ? `Cannot read ${path}: ${message}.` : `${path} is not JSON (${message}).`)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UserError(
      `${path} holds no recipe; expected fields by name, as in {"recipe": "images", "steps": 20000}.`,
    )
  }
  const { recipe: base, ...fields } = json as Record<string, unknown>
  if (typeof base !== 'string') {
    const names = Object.keys(recipes).join(', ')
    throw new UserError(
      `${path}: Found recipe ${JSON.stringify(base)}; expected what it is based on, one of ${names}.`,
    )
  }
  return { ...recipeNamed(base), ...readFields(path, fields), recipe: basename(path, '.json') }
}

/**
 * Fields of a recipe as JSON has them.
 * @param path of the file they are from
 * @throws UserError naming a field that is unknown or of another type
 */
export function readFields(path: string, fields: Readonly<Record<string, unknown>>): Partial<Recipe> {
  return Object.fromEntries(
    Object.entries(fields).map(([field, value]) => [field, readField(path, field, value)]),
  )
}

/** A field's value in JSON: what the command line reads from the same value written as text. */
function readField(path: string, field: string, value: unknown): unknown {
  const known = Object.hasOwn(recipeFields, field) ? recipeFields[field as keyof typeof recipeFields] : null
  if (!known) {
    throw new UserError(
      `${path}: Found an unknown field "${field}"; expected recipe, ${Object.keys(recipeFields).join(', ')}.`,
    )
  }
  // The only field without a value of its own: the pictures' size as it is.
  if (field === 'size' && value === null) return null
  const [, parse, description] = known
  let parsed: unknown
  try {
    parsed = parse(String(value))
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${path}: ${field}: ${error.message}`)
    throw error
  }
  if (isDeepStrictEqual(parsed, value)) return value
  throw new UserError(
    `${path}: ${field}: Found ${JSON.stringify(value)}; expected a value like ${JSON.stringify(parsed)} (${description}).`,
  )
}

/** The fields in which two recipes differ, for people: one line each. */
export function differences(found: Partial<Recipe>, expected: Recipe): string[] {
  return Object.entries(found)
    .filter(([field, value]) => !isDeepStrictEqual(value, expected[field as keyof Recipe]))
    .map(([field, value]) => {
      const was = JSON.stringify(expected[field as keyof Recipe])
      return `${field}: found ${JSON.stringify(value)}, expected ${was}`
    })
}
