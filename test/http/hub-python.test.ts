// The Hugging Face hub's Python client finds, lists and downloads models of this server.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hubClientEnv, missingPackages, runPython } from '../support/python.ts'
import { onEveryHost } from './hosts.ts'

const script = fileURLToPath(new URL('hub-client.py', import.meta.url))

onEveryHost("the hub's Python client", (running) => {
  test('finds, lists, reads and downloads a model', {
    skip: missingPackages('huggingface_hub'),
    timeout: 120_000,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ddpm-hub-'))
    const { host, site } = running
    const commit = site.version.slice(0, 40)
    const model = site.subjects.model.content
    const { sha256 } = site.manifest.files[0]!
    const manifestSize = site.subjects.manifest.content.length
    const names = ['model.onnx', 'manifest.json']
    const paths = names.map((name) => `ada/shapes/${name}`)
    try {
      assert.deepEqual(await runPython(script, [], hubClientEnv(host.url, folder)), {
        info: ['ada/shapes', commit, 'ada', 'CC0-1.0', false],
        'info of a revision': commit,
        siblings: [
          ['model.onnx', 10_000, sha256],
          ['manifest.json', manifestSize, site.version],
        ],
        exists: [true, false],
        'revision exists': [true, false],
        'file exists': [true, false],
        paths: [['model.onnx', 10_000]],
        'one path': [commit],
        tree: [
          ['model.onnx', sha256],
          ['manifest.json', site.version],
        ],
        files: names,
        references: [
          ['main', commit],
          ['stable', commit],
        ],
        commits: [commit],
        models: ['ada/shapes'],
        'found models': [['ada/shapes'], [], ['ada/shapes'], []],
        downloads: [sha256, sha256, sha256],
        snapshot: names.toSorted(),
        'snapshot of patterns': ['.cache', 'manifest.json'],
        ls: paths,
        'ls of a revision': names.map((name) => `ada/shapes@stable/${name}`),
        'file info': ['file', 10_000],
        'folder info': 'directory',
        'file system exists': [true, false, false],
        glob: ['ada/shapes/model.onnx'],
        walk: [['ada/shapes', [], names]],
        opened: [[...model.subarray(0, 10)], createHash('sha256').update(model.subarray(5000)).digest('hex')],
        errors: {
          model: ['RepositoryNotFoundError'],
          revision: ['RevisionNotFoundError'],
          file: ['EntryNotFoundError'],
          folder: ['EntryNotFoundError'],
        },
      })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
