import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import sharp from 'sharp'
import { readFolder } from './folder.ts'
import { readLabels } from './metadata.ts'

const scratch = await mkdtemp(join(tmpdir(), 'metadata-'))
after(() => rm(scratch, { recursive: true }))

async function folder(files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(scratch, 'f-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
  return path
}

test('metadata.csv gives the labels in the order of the images, with quotes, extra columns and a byte order mark', async () => {
  const csv = '\ufefffile_name,credit,label\r\nb.png,"A, ""B""",big cat\r\n\r\na.png,,"dog, small"\r\n'
  assert.deepEqual(await readLabels(await folder({ 'metadata.csv': csv }), ['a.png', 'b.png']), [
    'dog, small',
    'big cat',
  ])
})

test('metadata.jsonl gives the labels', async () => {
  const lines = '{"file_name":"x/b.png","label":3}\n\n{"file_name":"./a.png","label":"12"}\n'
  assert.deepEqual(await readLabels(await folder({ 'metadata.jsonl': lines }), ['a.png', 'x/b.png']), [
    '12',
    '3',
  ])
})

test('without a metadata file or a label column there are no labels', async () => {
  assert.equal(await readLabels(await folder({}), ['a.png']), null)
  const captions = 'file_name,text\na.png,a cat\n'
  assert.equal(await readLabels(await folder({ 'metadata.csv': captions }), ['a.png']), null)
})

test('labels of the metadata take precedence over subfolders, and number labels are sorted by value', async () => {
  const path = await folder({
    'metadata.jsonl': [10, 9, 2].map((label, i) => `{"file_name":"${i}.png","label":${label}}`).join('\n'),
  })
  for (const i of [0, 1, 2]) {
    const colour = { r: 80 * i, g: 10, b: 99 }
    await sharp({ create: { width: 8, height: 8, channels: 3, background: colour } }).toFile(
      join(path, `${i}.png`),
    )
  }
  const { classes, labels } = await readFolder(path, { width: 4, height: 4, channels: 'auto' })
  assert.deepEqual(classes, ['2', '9', '10'])
  assert.deepEqual([...labels!], [2, 1, 0])
})

test('invalid metadata is rejected with the row and what was expected', async () => {
  for (const [name, text, message] of [
    [
      'metadata.csv',
      'file_name,label\n"a.png,cat\n',
      /Invalid CSV in .*metadata\.csv: .*Expected a first line such as/,
    ],
    [
      'metadata.csv',
      'name,label\na.png,cat\n',
      /Invalid row 1 of .*: expected a file_name and a label, got .*"name":"a\.png"/,
    ],
    ['metadata.csv', 'file_name,label\na.png,\n', /Invalid row 1/],
    [
      'metadata.jsonl',
      '{"file_name":"a.png","label":1}\n{oops',
      /Invalid JSON in line 2 of .*metadata\.jsonl/,
    ],
    ['metadata.csv', 'file_name,label\na.png,x\nz.png,x\n', /lists images that do not exist: z\.png\./],
    ['metadata.csv', 'file_name,label\nz.png,x\n', /lists images that do not exist/],
    ['metadata.jsonl', '{"file_name":"a.png","label":true}', /expected a file_name and a label/],
  ] as const) {
    const path = await folder({ [name]: text })
    await assert.rejects(readLabels(path, ['a.png']), { name: 'UserError', message })
  }
  const partial = await folder({ 'metadata.csv': 'file_name,label\na.png,x\n' })
  await assert.rejects(
    readLabels(partial, ['a.png', 'b.png']),
    /no label for 1 of the 2 images: b\.png\. Add/,
  )
})
