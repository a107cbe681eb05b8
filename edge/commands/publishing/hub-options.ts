import { UserError } from '@ddpm/shared'
import { parseHubAddress } from '../../sampler/base/hub-address.ts'
import { definedOverrides, megabytes, type Overrides, readExported } from './exported.ts'
import { listHubFiles, publishToHub } from './hub.ts'
import { readHubAccount } from './hub-account.ts'

/** Options of `npm run publish -- FOLDER` that matter for a hub. */
interface HubOptions extends Overrides {
  readonly alias: readonly string[]
  readonly dryRun?: true
  readonly private?: true
  readonly verify?: true
  readonly repair?: true
}

/**
 * Publishes a model on the Hugging Face hub, and reports it. The address determines the model's name.
 * @param to `hf:owner/name` or `hf:owner/name@branch`
 * @throws UserError for an invalid address, or options that do not apply to a hub
 */
export async function publishOnHub(folder: string, to: string, options: HubOptions): Promise<void> {
  const { alias, dryRun, private: isPrivate = false, verify, repair, name } = options
  const address = parseHubAddress(to)
  if (address === null) {
    throw new UserError(`Invalid --to "${to}": expected hf:owner/name or hf:owner/name@branch.`)
  }
  if (alias.length > 0) {
    throw new UserError('Invalid --alias: a hub has branches. Use --to hf:owner/name@branch.')
  }
  if (verify || repair) {
    throw new UserError('Invalid --verify or --repair: the hub verifies its files itself.')
  }
  if (name !== undefined && name !== address.name) {
    throw new UserError(`Conflicting --name "${name}" and --to "${to}": remove --name.`)
  }
  const exported = await readExported(folder, { ...definedOverrides(options), name: address.name })
  const files = await listHubFiles(exported)
  const total = files.reduce((sum, { content }) => sum + content.size, 0)
  const contents = `${files.length} files, ${megabytes(total)} MB`
  if (dryRun) {
    const lines = files.map(({ path, content }) => `  ${megabytes(content.size)} MB  ${path}`)
    return console.log([`Would publish ${to} (${contents}):`, ...lines].join('\n'))
  }
  const account = await readHubAccount()
  console.log(`Sending ${contents} to ${account.hubUrl} …`)
  const { commit, keptCard } = await publishToHub(address, files, account, { isPrivate })
  if (keptCard) console.log('The model card README.md was changed in the repository and left as it is.')
  console.log(
    `Published ${address.name} at ${account.hubUrl}/${address.name}, commit ${commit.slice(0, 12)}.`,
  )
}
