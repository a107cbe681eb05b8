// `npm run publish -- --to hf:…` sends models with the hub's official client to a stand-in of the hub.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseManifest } from '@ddpm/shared'
import { cardMark } from '../../edge/commands/publishing/hub-card.ts'
import { command } from '../support/command.ts'
import { writeExported } from '../support/exported.ts'
import { type StandIn, startHub, writeToken } from '../support/hub.ts'
import { hubClientEnv, missingPackages, runPython } from '../support/python.ts'

suite('npm run publish -- --to hf:owner/name', () => {
  let hub: StandIn
  let folder: string
  let exported: string
  let contents: Buffer[]
  before(async () => {
    hub = await startHub()
    folder = await mkdtemp(join(tmpdir(), 'ddpm-publish-hub-'))
    exported = join(folder, 'export')
    contents = (await writeExported(exported, 'local/discs', { graph: 50_000, preview: 300 })).contents
    await writePytorch('model_index.json', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors')
  })
  after(async () => {
    await hub?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  async function writePytorch(...paths: string[]): Promise<void> {
    await rm(join(exported, 'pytorch'), { recursive: true, force: true })
    for (const path of paths) {
      await mkdir(join(exported, 'pytorch', path, '..'), { recursive: true })
      await writeFile(join(exported, 'pytorch', path), path.endsWith('.json') ? '{}' : `content of ${path}`)
    }
  }

  const env = () => ({ HF_ENDPOINT: hub.url, HF_TOKEN: writeToken, HF_HOME: join(folder, 'none') })
  const publish = (to: string, ...options: string[]) =>
    command(['publish', exported, '--to', to, ...options], env())
  const read = (path: string, name = 'ada/discs', branch = 'main') =>
    hub.files(name, branch).get(path)!.toString()

  test('creates the repository with card, manifest, ONNX and the weights for PyTorch, in one commit', async () => {
    const { status, stdout, stderr } = await publish('hf:ada/discs', '--licence', 'CC-BY-4.0')
    assert.equal(status, 0, stderr)
    const commits = hub.repositories.get('ada/discs')!.branches.get('main')!
    assert.equal(commits.length, 2)
    assert.match(
      stdout,
      new RegExp(`ada/discs at ${hub.url}/ada/discs, commit ${commits[1]!.id.slice(0, 12)}`),
    )
    assert.equal(hub.repositories.get('ada/discs')!.isPrivate, false)
    assert.deepEqual([...hub.files('ada/discs').keys()].sort(), [
      '.gitattributes',
      'README.md',
      'manifest.json',
      'model.onnx',
      'model_index.json',
      'preview.png',
      'unet/config.json',
      'unet/diffusion_pytorch_model.safetensors',
    ])
    assert.ok(hub.files('ada/discs').get('model.onnx')!.equals(contents[0]!))
    const manifest = parseManifest(read('manifest.json'), 'manifest.json')
    assert.deepEqual([manifest.name, manifest.licence], ['ada/discs', 'CC-BY-4.0'])
    const card = read('README.md')
    assert.match(
      card,
      /^---\nlibrary_name: diffusers\npipeline_tag: unconditional-image-generation\nlicense: cc-by-4.0\n/,
    )
    assert.match(card, /!\[.*\]\(preview\.png\)/)
    assert.match(card, /load\('hf:ada\/discs'\)/)
    assert.match(card, /DDPMPipeline\.from_pretrained\("ada\/discs"\)/)
  })

  test("Python's huggingface_hub downloads what was sent, and reads the card's metadata", {
    skip: missingPackages('huggingface_hub'),
    timeout: 120_000,
  }, async () => {
    const script = fileURLToPath(new URL('hub-snapshot.py', import.meta.url))
    const home = join(folder, 'home')
    const result = await runPython(script, ['ada/discs'], hubClientEnv(hub.url, home))
    const { files, card } = result as { files: Record<string, string>; card: Record<string, unknown> }
    const expected = [...hub.files('ada/discs')].map(([path, content]) => [
      path,
      createHash('sha256').update(content).digest('hex'),
    ])
    assert.deepEqual(files, Object.fromEntries(expected))
    assert.equal(files['model.onnx'], createHash('sha256').update(contents[0]!).digest('hex'))
    assert.deepEqual(card, {
      library_name: 'diffusers',
      pipeline_tag: 'unconditional-image-generation',
      license: 'cc-by-4.0',
      tags: ['ddpm', 'diffusion', 'onnx', 'diffusers'],
    })
  })

  test('publishing again sends no large file twice, and removes files that the model no longer has', async () => {
    await writePytorch('config.json', 'model.safetensors')
    const reason = 'it has 4 heads'
    await writeFile(join(exported, 'pytorch/config.json'), JSON.stringify({ diffusersObstacle: reason }))
    const count = hub.requests.length
    const { status, stderr } = await publish('hf:ada/discs', '--licence', 'My own terms: "free"')
    assert.equal(status, 0, stderr)
    const sent = hub.requests.slice(count).filter((request) => request.startsWith('PUT'))
    assert.equal(sent.length, 1, sent.join())
    const paths = [...hub.files('ada/discs').keys()].sort()
    assert.deepEqual(paths, [
      '.gitattributes',
      'README.md',
      'config.json',
      'manifest.json',
      'model.onnx',
      'model.safetensors',
      'preview.png',
    ])
    const card = read('README.md')
    assert.match(card, /library_name: onnx\n/)
    assert.match(card, /license: other\nlicense_name: "My own terms: \\"free\\""\n/)
    assert.match(card, /diffusers cannot load this network: it has 4 heads\./)
  })

  test('a model card that somebody changed is left as it is', async () => {
    const changed = read('README.md').replace(cardMark, 'My own words.')
    const commits = hub.repositories.get('ada/discs')!.branches.get('main')!
    const files = new Map(commits.at(-1)!.files).set('README.md', Buffer.from(changed))
    commits.push({ id: 'f'.repeat(40), title: 'Edit README.md', files })
    const { status, stdout, stderr } = await publish('hf:ada/discs')
    assert.equal(status, 0, stderr)
    assert.match(stdout, /README\.md was changed in the repository and left as it is/)
    assert.equal(read('README.md'), changed)
  })

  test('to a branch, which is created, of a private repository', async () => {
    const { status, stderr } = await publish('hf:ada/secret@small', '--private')
    assert.equal(status, 0, stderr)
    assert.equal(hub.repositories.get('ada/secret')!.isPrivate, true)
    assert.equal(parseManifest(read('manifest.json', 'ada/secret', 'small'), '').name, 'ada/secret')
    assert.ok(!hub.files('ada/secret').has('manifest.json'))
  })

  test('--dry-run sends nothing and needs no token', async () => {
    const count = hub.requests.length
    const dry = await command(['publish', exported, '--to', 'hf:ada/other', '--dry-run'], {
      ...env(),
      HF_TOKEN: '',
    })
    assert.equal(dry.status, 0, dry.stderr)
    assert.match(dry.stdout, /Would publish hf:ada\/other \(6 files, 0\.1 MB\):[\s\S]*model\.onnx/)
    assert.equal(hub.requests.length, count)
  })

  test('reads the token from the file that "hf auth login" writes', async () => {
    const home = join(folder, 'home of ada')
    await mkdir(home)
    await writeFile(join(home, 'token'), `${writeToken}\n`)
    const { status, stderr } = await command(['publish', exported, '--to', 'hf:ada/filed'], {
      ...env(),
      HF_TOKEN: '',
      HF_HOME: home,
    })
    assert.equal(status, 0, stderr)
  })

  test('errors say what is wrong and what to do', async () => {
    const cases: [string, string[], Record<string, string>, RegExp][] = [
      ['hf:ada/discs', [], { HF_TOKEN: '' }, /Missing token for .*set HF_TOKEN/],
      ['hf:ada/discs', [], { HF_TOKEN: 'secret' }, /Invalid token .*starts with "hf_"/],
      ['hf:ada/discs', [], { HF_TOKEN: 'hf_wrong' }, /rejected the token.*settings\/tokens/],
      ['hf:eve/discs', [], {}, /may not write to eve\/discs/],
      ['hf:ada/discs', [], { HF_ENDPOINT: 'http://127.0.0.1:1' }, /Cannot reach http:\/\/127\.0\.0\.1:1/],
      ['hf:discs', [], {}, /Invalid --to "hf:discs": expected hf:owner\/name/],
      ['hf:ada/discs', ['--alias', 'stable'], {}, /Invalid --alias/],
      ['hf:ada/discs', ['--name', 'ada/circles'], {}, /Conflicting --name/],
      ['http://127.0.0.1:1', ['--private'], {}, /Invalid --private/],
    ]
    await Promise.all(
      cases.map(async ([to, options, changes, message]) => {
        const args = ['publish', exported, '--to', to, ...options]
        const { status, stderr } = await command(args, { ...env(), ...changes })
        assert.equal(status, 1, to)
        assert.match(stderr, message)
        assert.doesNotMatch(stderr, /\n\s+at /)
      }),
    )
    const { stderr } = await command(['publish', 'list', '--to', 'hf:ada/discs'], env())
    assert.match(stderr, /only "npm run publish -- FOLDER" supports the Hugging Face hub/)
  })

  test('a manifest of the hub is that of the export, except for the name', async () => {
    const own = parseManifest(await readFile(join(exported, 'manifest.json'), 'utf8'), '')
    const sent = parseManifest(read('manifest.json', 'ada/filed'), '')
    assert.deepEqual(sent, { ...own, name: 'ada/filed' })
  })
})
