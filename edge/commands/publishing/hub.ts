// Publishes a model in a repository of the Hugging Face hub. The official client @huggingface/hub sends the files: it
// knows which files the hub stores with Git LFS or Xet, and it needs no Git.
import { existsSync, openAsBlob } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { formatManifest, UserError } from '@ddpm/shared'
import {
  type CommitOperation,
  commit,
  createBranch,
  createRepo,
  downloadFile,
  HubApiError,
  InvalidApiResponseFormatError,
  listFiles,
  repoExists,
} from '@huggingface/hub'
import type { HubAddress } from '../../sampler/base/hub-address.ts'
import type { ExportedModel } from './exported.ts'
import type { HubAccount } from './hub-account.ts'
import { cardMark, writeModelCard } from './hub-card.ts'

/** A file to send. */
interface HubFile {
  readonly path: string
  readonly content: Blob
}

/**
 * Lists the files of an exported model for the hub: the model card, the manifest, the files in the manifest, and the files
 * for PyTorch.
 */
export async function listHubFiles({ folder, manifest, files }: ExportedModel): Promise<HubFile[]> {
  const pytorch = join(folder, 'pytorch')
  const names = existsSync(pytorch) ? await readdir(pytorch, { recursive: true, withFileTypes: true }) : []
  const sources = [
    ...files.map(({ path }) => ({ path: relative(folder, path), source: path })),
    ...names
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((source) => ({ path: relative(pytorch, source).split(sep).join('/'), source })),
  ]
  const card = writeModelCard(manifest, {
    paths: sources.map(({ path }) => path),
    obstacle: await readObstacle(pytorch),
  })
  return [
    { path: 'README.md', content: new Blob([card]) },
    { path: 'manifest.json', content: new Blob([formatManifest(manifest)]) },
    ...(await Promise.all(
      sources.map(async ({ path, source }) => ({ path, content: await openAsBlob(source) })),
    )),
  ]
}

/** Returns why diffusers cannot load the network, as written by the export; null if it can. */
async function readObstacle(pytorch: string): Promise<string | null> {
  const text = await readFile(join(pytorch, 'config.json'), 'utf8').catch(() => '{}')
  return (JSON.parse(text) as { diffusersObstacle?: string }).diffusersObstacle ?? null
}

/** Paths that an earlier publication may have sent, and that a later one may not have. */
const ownPaths = [
  ...['preview.png', 'model.fp16.onnx', 'model.safetensors', 'config.json', 'model_index.json'],
  ...['unet/config.json', 'unet/diffusion_pytorch_model.safetensors', 'scheduler/scheduler_config.json'],
]

/**
 * Sends files to a repository in one commit. Creates the repository and the branch if they do not exist. Removes the
 * files of an earlier publication that this one does not have. A model card that somebody changed is not replaced.
 * @param options.isPrivate whether a new repository is private
 * @returns the commit, and whether the existing model card was left as it is
 * @throws UserError if the hub cannot be reached or rejects the request
 */
export async function publishToHub(
  { name, revision }: HubAddress,
  files: readonly HubFile[],
  { hubUrl, accessToken }: HubAccount,
  { isPrivate = false }: { isPrivate?: boolean } = {},
): Promise<{ commit: string; keptCard: boolean }> {
  const repo = { type: 'model', name } as const
  const access = { repo, hubUrl, accessToken }
  try {
    if (!(await repoExists(access))) {
      await createRepo({ ...access, visibility: isPrivate ? 'private' : 'public' })
    }
    // Without a starting point, an existing branch is left as it is.
    if (revision !== 'main') await createBranch({ ...access, branch: revision, overwrite: true })
    // The client does not encode the revision.
    const at = { ...access, revision: encodeURIComponent(revision) }
    const existing = await Array.fromAsync(listFiles({ ...at, recursive: true }), ({ path }) => path)
    const card = existing.includes('README.md') ? await downloadFile({ ...at, path: 'README.md' }) : null
    const keptCard = card !== null && !(await card.text()).includes(cardMark)
    const sent = files.filter(({ path }) => path !== 'README.md' || !keptCard)
    const isOurs = existing.includes('manifest.json')
    const stale = ownPaths.filter(
      (path) => isOurs && existing.includes(path) && sent.every((file) => file.path !== path),
    )
    const operations: CommitOperation[] = [
      ...sent.map(({ path, content }) => ({ operation: 'addOrUpdate', path, content }) as const),
      ...stale.map((path) => ({ operation: 'delete', path }) as const),
    ]
    const output = await commit({ ...access, branch: revision, title: `Publish ${name}`, operations })
    return { commit: output!.commit.oid, keptCard }
  } catch (error) {
    throw explain(error, name, hubUrl)
  }
}

function explain(error: unknown, name: string, hubUrl: string): Error {
  if (error instanceof HubApiError) {
    const { statusCode, message } = error
    if (statusCode === 401) {
      return new UserError(
        `${hubUrl} rejected the token. Create one with write access at ${hubUrl}/settings/tokens and set HF_TOKEN.`,
      )
    }
    if (statusCode === 403) {
      return new UserError(
        `The token may not write to ${name} on ${hubUrl}. Use your own user name or organisation, or a token with write access.`,
      )
    }
    return new UserError(`${hubUrl} rejected the publication of ${name}: ${message}`)
  }
  if (error instanceof InvalidApiResponseFormatError) {
    return new UserError(
      `${hubUrl} is not a hub that this program understands: ${error.message}. Check HF_ENDPOINT.`,
    )
  }
  if (error instanceof TypeError && error.message === 'fetch failed') {
    const reason = (error.cause as Error | undefined)?.message ?? error.message
    return new UserError(
      `Cannot reach ${hubUrl} (${reason}). Check the network, then run the same command again.`,
    )
  }
  return error as Error
}
