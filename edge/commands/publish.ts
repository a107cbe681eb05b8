import { formatManifest, UserError } from '@ddpm/shared'
import { realNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { sha256OfText } from '../server/registry/publishing.ts'
import { aliasName, resolveVersion } from '../server/registry/record.ts'
import { type Overrides, readExported } from './publishing/exported.ts'
import type { Published, Registry } from './publishing/registry.ts'
import { openRegistry, type TargetOptions, withTarget } from './publishing/target.ts'
import { type Sending, sendingBar } from './publishing/upload-progress.ts'

interface PublishOptions extends Overrides, TargetOptions {
  alias: string[]
  dryRun?: true
}

const command = new Command('npm run publish --')
  .description('Publishes an exported model, and keeps what is published.')
  .enablePositionalOptions()
  .argument('<folder>', 'an exported model, or the folder of a training run that holds export/')
  .option('--name <owner/name>', "the model's name on the edge (default: the manifest's)")
  .option('--description <text>', 'what it draws, in a sentence')
  .option('--licence <text>', 'under which licence others may use it')
  .option(
    '--alias <name>',
    'a further name for this version, beside "latest"; may be repeated',
    collectAlias,
    [],
  )
  .option('--dry-run', 'check everything and say what would be sent')
  .addHelpText(
    'after',
    `
What was sent stays sent: stopped anywhere, the same command goes on, and visitors see the old model until the new
one is there whole.

Examples:
  npm run publish -- runs/shapes
  npm run publish -- runs/mnist --name ada/digits --licence CC0-1.0 --dry-run
  npm run publish -- runs/mnist --name ada/digits --remote
  npm run publish -- runs/mnist --to https://models.example
  npm run publish -- list
  npm run publish -- rollback ada/digits --remote
  npm run publish -- unpublish ada/digits 5a29f04c81d3
  npm run publish -- gc --dry-run`,
  )
  .action(async (folder: string, options: PublishOptions) => {
    const { alias, dryRun, remote, env, to, folder: store, persistTo, ...overrides } = options
    const { manifest, files } = await readExported(folder, known(overrides))
    await withRegistry({ remote, env, to, folder: store, persistTo } as TargetOptions, async (registry) => {
      const text = formatManifest(manifest)
      if (dryRun) return console.log(await plan(registry, manifest.name, text, files))
      const { version, missing } = await registry.begin(manifest, text)
      const toSend = files.filter(({ sha256 }) => missing.some((file) => file.sha256 === sha256))
      const bar: Sending = sendingBar(toSend.reduce((sum, { bytes }) => sum + bytes, 0))
      for (const file of toSend) await registry.send(file, bar.sent)
      bar.end()
      const change = await registry.commit(manifest.name, version, alias)
      console.log(outcome[change](manifest.name, registry.place, short(version)))
    })
  })
withTarget(command)

withTarget(command.command('list'))
  .description('Names what is published, with versions and aliases.')
  .action((options: TargetOptions) =>
    withRegistry(options, async (registry) => {
      let models = 0
      for await (const model of registry.models()) {
        console.log(describe(model))
        models++
      }
      if (models === 0) console.log(`Nothing is published ${registry.place}.`)
    }),
  )

withTarget(command.command('rollback'))
  .description('Makes an earlier version the latest again.')
  .argument('<owner/name>', 'the model')
  .argument('[version]', 'which version (default: the one before the latest)')
  .action((name: string, reference: string | undefined, options: TargetOptions) =>
    withRegistry(options, async (registry) => {
      const target = reference ?? before(await published(registry, name))
      const version = await registry.moveAlias(name, 'latest', target)
      console.log(`The latest version of ${name} ${registry.place} is ${short(version)} again.`)
    }),
  )

withTarget(command.command('unpublish'))
  .description(
    'Takes a version back, or the whole model. Addresses of its files work until "gc" removes them.',
  )
  .argument('<owner/name>', 'the model')
  .argument('[version]', 'which version (default: all)')
  .option('--dry-run', 'only say what would be taken back')
  .action((name: string, reference: string | undefined, options: TargetOptions & { dryRun?: true }) =>
    withRegistry(options, async (registry) => {
      const model = await published(registry, name)
      const version = reference === undefined ? null : versionOf(model, reference)
      const what =
        version === null ? `${name} with ${model.versions.length} versions` : `${name} ${short(version)}`
      if (options.dryRun) return console.log(`Would take back ${what} ${registry.place}.`)
      await registry.unpublish(name, version ?? undefined)
      console.log(`Took back ${what} ${registry.place}. Its files go with: npm run publish -- gc`)
    }),
  )

withTarget(command.command('gc'))
  .description('Removes files that no version names any more; safe while others publish.')
  .option('--dry-run', 'only say what would be removed')
  .option('--keep-days <n>', 'leave what was sent in the last days', realNumber, 1)
  .action((options: TargetOptions & { dryRun?: true; keepDays: number }) =>
    withRegistry(options, async (registry) => {
      const { dryRun = false, keepDays } = options
      const { removed, bytes, kept } = await registry.collect({ dryRun, keepDays })
      for (const file of removed) console.log(`${file.sha256}  ${megabytes(file.bytes)} MB`)
      const did = dryRun ? 'Would remove' : 'Removed'
      console.log(`${did} ${removed.length} files, ${megabytes(bytes)} MB, ${registry.place}; ${kept} stay.`)
    }),
  )

const outcome = {
  new: (name: string, where: string, version: string) => `Published ${name} ${where}, version ${version}.`,
  changed: (name: string, where: string, version: string) => `Replaced ${name} ${where}, version ${version}.`,
  unchanged: (name: string, where: string) => `${name} is already published ${where}; nothing changed.`,
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

async function plan(
  registry: Registry,
  name: string,
  text: string,
  files: readonly { path: string; sha256: string; bytes: number }[],
): Promise<string> {
  const version = sha256OfText(text)
  const model = await registry.model(name)
  if (model?.aliases['latest'] === version) return outcome.unchanged(name, registry.place)
  const lines = await Promise.all(
    files.map(async (file) => {
      const there = await registry.has(file)
      return `  ${there ? 'is there' : 'to send '}  ${megabytes(file.bytes)} MB  ${file.path}`
    }),
  )
  const verb = model === null ? 'publish' : 'replace'
  return [`Would ${verb} ${name} ${registry.place}, version ${short(version)}:`, ...lines].join('\n')
}

/** Only what was said, so that the rest stays as the trainer wrote it. */
function known({ name, description, licence }: Overrides): Overrides {
  return {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(licence !== undefined && { licence }),
  }
}

async function published(registry: Registry, name: string): Promise<Published> {
  const model = await registry.model(name)
  if (model !== null) return model
  throw new UserError(`No model is named "${name}" ${registry.place}; "npm run publish -- list" names them.`)
}

function before({ name, versions, aliases }: Published): string {
  const index = versions.findIndex(({ version }) => version === aliases['latest'])
  const found = versions[index - 1]?.version
  if (found !== undefined) return found
  throw new UserError(`${name} has no version before its latest, ${short(aliases['latest'] ?? '')}.`)
}

function versionOf(model: Published, reference: string): string {
  const version = resolveVersion(model, reference)
  if (version !== null) return version
  throw new UserError(`${model.name} has no version "${reference}":\n${describe(model)}`)
}

function describe({ name, versions, aliases }: Published): string {
  const lines = versions.map(({ version, published }) => {
    const names = Object.keys(aliases).filter((alias) => aliases[alias] === version)
    return `  ${short(version)}  ${published.slice(0, 16).replace('T', ' ')}  ${names.join(', ')}`.trimEnd()
  })
  return [name, ...lines].join('\n')
}

function collectAlias(text: string, before: string[]): string[] {
  const found = aliasName.safeParse(text)
  if (found.success) return [...before, text]
  throw new UserError(`Found --alias "${text}"; ${found.error.issues[0]!.message}.`)
}

const short = (version: string) => version.slice(0, 12)
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)

await runCommand(command)
