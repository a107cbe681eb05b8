import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
// Chosen for its correct quoting rules and because it has no dependencies.
import { parse } from 'csv-parse/sync'
import { summarize } from '../../support/summarize.ts'

/** Names of metadata files, as in Hugging Face's imagefolder. */
export const metadataNames: readonly string[] = ['metadata.csv', 'metadata.jsonl']

/**
 * Reads the labels of images from `metadata.csv` or `metadata.jsonl` in their folder: `file_name` is a path relative to the
 * folder, `label` a text or a number.
 * @param images paths of all images, relative to the folder
 * @returns the label of each image, or null if there is no metadata file or it has no labels
 * @throws UserError if the file is invalid or does not list exactly the images
 */
export async function readLabels(
  folder: string,
  images: readonly string[],
): Promise<readonly string[] | null> {
  for (const name of metadataNames) {
    const path = join(folder, name)
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    })
    if (text === null) continue
    const rows = name.endsWith('.csv') ? parseCsv(path, text) : parseJsonLines(path, text)
    return labelsOf(path, rows, images)
  }
  return null
}

type Row = Readonly<Record<string, unknown>>

function parseCsv(path: string, text: string): Row[] {
  try {
    return parse(text, { columns: true, bom: true, skip_empty_lines: true, trim: true })
  } catch (error) {
    throw new UserError(
      `Invalid CSV in ${path}: ${(error as Error).message}. Expected a first line such as file_name,label.`,
    )
  }
}

function parseJsonLines(path: string, text: string): Row[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return []
    try {
      return [Object(JSON.parse(line)) as Row]
    } catch (error) {
      throw new UserError(
        `Invalid JSON in line ${index + 1} of ${path}: ${(error as Error).message}. ` +
          'Expected an object such as {"file_name": "a.png", "label": "cat"}.',
      )
    }
  })
}

function labelsOf(path: string, rows: readonly Row[], images: readonly string[]): string[] | null {
  if (rows.length > 0 && !rows.some((row) => 'label' in row)) return null
  const labels = new Map<string, string>()
  for (const [index, row] of rows.entries()) {
    const { file_name: file, label } = row
    const isLabel = typeof label === 'string' ? label !== '' : typeof label === 'number'
    if (typeof file !== 'string' || !isLabel) {
      throw new UserError(
        `Invalid row ${index + 1} of ${path}: expected a file_name and a label, got ${JSON.stringify(row)}.`,
      )
    }
    labels.set(file.replace(/^\.\//, ''), String(label))
  }
  const existing = new Set(images)
  const absent = [...labels.keys()].filter((file) => !existing.has(file))
  const unlisted = images.filter((image) => !labels.has(image))
  if (absent.length > 0)
    throw new UserError(
      `${path} lists images that do not exist: ${summarize(absent)}. Correct the file names.`,
    )
  if (unlisted.length > 0)
    throw new UserError(
      `${path} has no label for ${unlisted.length} of the ${images.length} images: ${summarize(unlisted)}. ` +
        'Add them to the file, or remove them from the folder.',
    )
  return images.map((image) => labels.get(image)!)
}
