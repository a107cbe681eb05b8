// What the Hugging Face hub's API responds with, for a version of a model that is published here.
import type { ManifestFile } from '@ddpm/shared'
import type { ModelVersion } from '../registry/models.ts'
import type { ModelRecord, ModelSummary } from '../registry/record.ts'

/** Number of digits of a Git commit. The hub's clients expect revisions of this length. */
const commitLength = 40

/** Returns the first digits of a version, as many as a Git commit has. */
export const commitId = (version: string): string => version.slice(0, commitLength)

/** Lists the files of a version: the files in the manifest, then the manifest itself. */
export function listFiles({
  version,
  manifest,
  text,
}: ModelVersion): Pick<ManifestFile, 'path' | 'sha256' | 'bytes'>[] {
  const manifestFile = {
    path: 'manifest.json',
    sha256: version,
    bytes: new TextEncoder().encode(text).length,
  }
  return [...manifest.files, manifestFile]
}

/** Describes a version: `ModelInfo` of the hub's clients. */
export function describeVersion(model: ModelVersion) {
  const siblings = listFiles(model).map(({ path, sha256, bytes }) => ({
    rfilename: path,
    size: bytes,
    blobId: commitId(sha256),
    lfs: { sha256, size: bytes, pointerSize },
  }))
  const { record, version, manifest } = model
  const published = publicationDate(record, version)
  return { ...describeModel({ ...manifest, version, published }, record.versions[0]!.published), siblings }
}

/** Describes a model without its files: an entry of the hub's list of models. */
export function describeModel(
  { name, version, licence, published }: Pick<ModelSummary, 'name' | 'version' | 'licence' | 'published'>,
  created = published,
) {
  return {
    _id: version.slice(0, 24),
    id: name,
    modelId: name,
    author: name.split('/')[0],
    sha: commitId(version),
    private: false,
    gated: false,
    disabled: false,
    downloads: 0,
    likes: 0,
    library_name: 'onnx',
    pipeline_tag: 'unconditional-image-generation',
    tags: ['onnx', 'unconditional-image-generation'],
    cardData: { license: licence },
    createdAt: created,
    lastModified: published,
  }
}

/** Lists the files of a version as entries of its root folder. */
export function listEntries(model: ModelVersion) {
  const { record, version } = model
  const lastCommit = { id: commitId(version), title: 'published', date: publicationDate(record, version) }
  return listFiles(model).map(({ path, sha256, bytes }) => ({
    type: 'file',
    path,
    size: bytes,
    oid: commitId(sha256),
    lfs: { oid: sha256, size: bytes, pointerSize },
    lastCommit,
  }))
}

/** Lists the revisions: the latest version is the branch `main`, and every other alias is a tag. */
export function listReferences({ aliases }: ModelRecord) {
  const tags = Object.keys(aliases).filter((alias) => alias !== 'latest')
  const reference = (name: string, kind: 'heads' | 'tags', version: string) => ({
    name,
    ref: `refs/${kind}/${name}`,
    targetCommit: commitId(version),
  })
  return {
    branches: [reference('main', 'heads', aliases['latest']!)],
    converts: [],
    tags: tags.map((alias) => reference(alias, 'tags', aliases[alias]!)),
  }
}

/** Lists the versions up to a revision as commits, latest first. */
export function listCommits({ record: { name, versions }, version }: ModelVersion) {
  const last = versions.findIndex((each) => each.version === version)
  return versions
    .slice(0, last + 1)
    .toReversed()
    .map((each) => ({
      id: commitId(each.version),
      title: 'published',
      message: '',
      date: each.published,
      authors: [{ user: name.split('/')[0] }],
    }))
}

/** Size of the Git LFS pointer that the hub stores for a file. Clients require the field. */
const pointerSize = 134

function publicationDate({ versions }: ModelRecord, version: string): string {
  return versions.find((each) => each.version === version)!.published
}
