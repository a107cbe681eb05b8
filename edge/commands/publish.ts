import { existsSync } from 'node:fs'
import { formatManifest, UserError } from '@ddpm/shared'
import { parseNumber, runCommand, suggest } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import { sha256OfText } from '../server/registry/publishing.ts'
import { aliasName, previousVersion, resolveVersion } from '../server/registry/record.ts'
import {
  definedOverrides,
  type ExportedFile,
  type ExportedModel,
  megabytes,
  type Overrides,
  readExported,
} from './publishing/exported.ts'
import { publishOnHub } from './publishing/hub-options.ts'
import { publishModel } from './publishing/publish-model.ts'
import type { PublishedModel, Registry } from './publishing/registry.ts'
import { openRegistry, type TargetOptions, withTarget } from './publishing/target.ts'
import { uploadProgress } from './publishing/upload-progress.ts'
import { type VerifiedFile, verifyModel } from './publishing/verify.ts'

interface PublishOptions extends Overrides, TargetOptions {
  alias: string[]
  dryRun?: true
  verify?: true
  repair?: true
  private?: true
}

const command = new Command('npm run publish --')
  .description('Publishes an exported model and manages published models.')
  .enablePositionalOptions()
  .argument('<folder>', 'folder of an exported model, or of a training run that contains export/')
  .option('--name <owner/name>', 'published name of the model (default: the name in the manifest)')
  .option('--description <text>', 'one sentence about the images that the model generates')
  .option('--licence <text>', 'licence under which others may use the model')
  .addOption(
    new Option('--alias <name>', 'additional alias for this version, as well as "latest"; repeatable')
      .argParser(collectAlias)
      .default([], 'none'),
  )
  .option('--dry-run', 'check everything and report what would be sent, without sending it')
  .addOption(
    new Option('--verify', 'only compare the published files with their hashes').conflicts([
      'dryRun',
      'repair',
    ]),
  )
  .addOption(
    new Option('--repair', 'publish, and replace published files that are damaged').conflicts('dryRun'),
  )
  .option('--private', 'with --to hf:…: make a new repository private')
  .addHelpText(
    'after',
    `
If publishing is interrupted, run the same command again: files that were sent are not sent twice. Visitors see the
old model until the new one is complete.

Examples:
  npm run publish -- runs/shapes
  npm run publish -- runs/mnist --name ada/digits --licence CC0-1.0 --dry-run
  npm run publish -- runs/mnist --name ada/digits --remote
  npm run publish -- runs/mnist --to https://models.example
  npm run publish -- runs/mnist --to hf:ada/digits --licence CC0-1.0     the Hugging Face hub; token in HF_TOKEN
  npm run publish -- runs/mnist --verify --remote
  npm run publish -- list
  npm run publish -- rollback ada/digits --remote
  npm run publish -- unpublish ada/digits 5a29f04c81d3
  npm run publish -- gc --dry-run`,
  )
  .action(async (folder: string, options: PublishOptions) => {
    const {
      alias,
      dryRun,
      verify,
      repair,
      private: isPrivate,
      remote,
      env,
      to,
      folder: store,
      persistTo,
      ...overrides
    } = options
    const nearest = existsSync(folder) ? '' : suggest(folder, subcommands())
    if (nearest !== '') throw new UserError(`Unknown folder or command "${folder}".${nearest}`)
    if (to?.startsWith('hf:')) return await publishOnHub(folder, to, options)
    if (isPrivate) throw new UserError('Invalid --private: it applies to --to hf:owner/name only.')
    const exported = await readExported(folder, definedOverrides(overrides))
    await withRegistry({ remote, env, to, folder: store, persistTo } as TargetOptions, async (registry) => {
      if (dryRun) return console.log(await dryRunReport(registry, exported))
      const files = verify || repair ? await verifyModel(registry, exported) : []
      if (verify) return reportVerification(registry, exported, files)
      const damaged = files.filter(({ state }) => state === 'damaged').map(({ sha256 }) => sha256)
      const { version, change } = await publishModel(registry, exported, {
        aliases: alias,
        damaged,
        progress: uploadProgress(),
      })
      if (damaged.length > 0) console.log(`Repaired ${countOf(damaged.length, 'file')} ${registry.place}.`)
      console.log(summary[change](exported.manifest.name, registry.place, short(version)))
    })
  })
withTarget(command)

withTarget(command.command('list'))
  .description('Lists the published models with their versions and aliases.')
  .action((options: TargetOptions) =>
    withRegistry(options, async (registry) => {
      let count = 0
      for await (const model of registry.models()) {
        console.log(describe(model))
        count++
      }
      if (count === 0) console.log(`No model is published ${registry.place}.`)
    }),
  )

withTarget(command.command('rollback'))
  .description('Makes an earlier version the latest again.')
  .argument('<owner/name>', 'the model')
  .argument('[version]', 'version to return to (default: the one before the latest)')
  .action((name: string, reference: string | undefined, options: TargetOptions) =>
    withRegistry(options, async (registry) => {
      const target = reference ?? previousVersion(await findModel(registry, name))
      const version = await registry.moveAlias(name, 'latest', target)
      console.log(`Rolled back ${name} ${registry.place}: the latest version is ${short(version)}.`)
    }),
  )

withTarget(command.command('unpublish'))
  .description(
    'Unpublishes one version or the whole model. Its files remain available until "gc" removes them.',
  )
  .argument('<owner/name>', 'the model')
  .argument('[version]', 'version to unpublish (default: all)')
  .option('--dry-run', 'only report what would be unpublished')
  .action((name: string, reference: string | undefined, options: TargetOptions & { dryRun?: true }) =>
    withRegistry(options, async (registry) => {
      const model = await findModel(registry, name)
      const version = reference === undefined ? null : findVersion(model, reference)
      const what =
        version === null
          ? `${name} (${countOf(model.versions.length, 'version')})`
          : `${name} ${short(version)}`
      if (options.dryRun) return console.log(`Would unpublish ${what} ${registry.place}.`)
      await registry.unpublish(name, version ?? undefined)
      console.log(
        `Unpublished ${what} ${registry.place}. ` +
          'To remove its files, run "npm run publish -- gc" with the same --remote, --to or --folder option.',
      )
    }),
  )

withTarget(command.command('gc'))
  .description('Removes files that no version references. It is safe to publish models at the same time.')
  .option('--dry-run', 'only report what would be removed')
  .option('--keep-days <n>', 'do not remove files that were sent within this number of days', parseNumber, 1)
  .action((options: TargetOptions & { dryRun?: true; keepDays: number }) =>
    withRegistry(options, async (registry) => {
      const { dryRun = false, keepDays } = options
      const { removed, bytes, kept } = await registry.collect({ dryRun, keepDays })
      for (const file of removed) console.log(`${file.sha256}  ${megabytes(file.bytes)} MB`)
      const verb = dryRun ? 'Would remove' : 'Removed'
      console.log(
        `${verb} ${countOf(removed.length, 'file')} (${megabytes(bytes)} MB) ${registry.place}. ` +
          `Remaining files: ${kept}.`,
      )
    }),
  )

/** Returns the names of the subcommands, which can replace the folder on the command line. */
const subcommands = () => command.commands.map((each) => each.name())

const summary = {
  new: (name: string, place: string, version: string) => `Published ${name} ${place}, version ${version}.`,
  changed: (name: string, place: string, version: string) => `Updated ${name} ${place}, version ${version}.`,
  unchanged: (name: string, place: string) => `${name} is already published ${place}; nothing changed.`,
}

async function withRegistry(
  options: TargetOptions,
  action: (registry: Registry) => Promise<void>,
): Promise<void> {
  const registry = await openRegistry(options)
  try {
    await action(registry)
  } finally {
    await registry.close()
  }
}

async function dryRunReport(registry: Registry, { manifest, files }: ExportedModel): Promise<string> {
  const { name } = manifest
  const version = sha256OfText(formatManifest(manifest))
  const model = await registry.model(name)
  if (model?.aliases['latest'] === version) return summary.unchanged(name, registry.place)
  const line = async (file: ExportedFile) => {
    const status = (await registry.has(file)) ? 'exists ' : 'to send'
    return `  ${status}  ${megabytes(file.bytes)} MB  ${file.path}`
  }
  const verb = model === null ? 'publish' : 'update'
  const lines = await Promise.all(files.map(line))
  return [`Would ${verb} ${name} ${registry.place}, version ${short(version)}:`, ...lines].join('\n')
}

/** Prints the state of every file. Sets the exit status 1 if a file is damaged or missing. */
function reportVerification(
  registry: Registry,
  { manifest }: ExportedModel,
  files: readonly VerifiedFile[],
): void {
  for (const { path, bytes, state } of files) {
    console.log(`  ${state.padEnd(7)}  ${megabytes(bytes)} MB  ${path}`)
  }
  const faulty = files.filter(({ state }) => state !== 'intact').length
  if (faulty === 0) {
    console.log(`${manifest.name} ${registry.place}: all files are intact.`)
    return
  }
  process.exitCode = 1
  console.log(
    `${manifest.name} ${registry.place}: ${countOf(faulty, 'file')} damaged or missing. ` +
      'To send them again, run the same command with --repair instead of --verify.',
  )
}

async function findModel(registry: Registry, name: string): Promise<PublishedModel> {
  const model = await registry.model(name)
  if (model !== null) return model
  const names = await Array.fromAsync(registry.models(), (known) => known.name)
  throw new UserError(
    `Unknown model "${name}" ${registry.place}.${suggest(name, names)} ` +
      'To list the models, run "npm run publish -- list" with the same --remote, --to or --folder option.',
  )
}

function findVersion(model: PublishedModel, reference: string): string {
  const version = resolveVersion(model, reference)
  if (version !== null) return version
  const nearest = suggest(reference, Object.keys(model.aliases))
  throw new UserError(
    `Unknown version "${reference}" of ${model.name}.${nearest} Its versions are:\n${describe(model)}`,
  )
}

function describe({ name, versions, aliases }: PublishedModel): string {
  const lines = versions.map(({ version, published }) => {
    const names = Object.keys(aliases).filter((alias) => aliases[alias] === version)
    return `  ${short(version)}  ${published.slice(0, 16).replace('T', ' ')}  ${names.join(', ')}`.trimEnd()
  })
  return [name, ...lines].join('\n')
}

function collectAlias(text: string, previous: string[]): string[] {
  const result = aliasName.safeParse(text)
  if (result.success) return [...previous, text]
  throw new UserError(`Invalid --alias "${text}": ${result.error.issues[0]!.message}.`)
}

const short = (version: string) => version.slice(0, 12)
const countOf = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`

await runCommand(command)
