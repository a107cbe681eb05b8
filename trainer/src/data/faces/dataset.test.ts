import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { createAvatar } from '@dicebear/core'
import * as pixelArt from '@dicebear/pixel-art'
import sharp from 'sharp'
import { type Colour, loadArt, partKinds } from './art.ts'
import {
  attributesOf,
  backgrounds,
  classes,
  classNameOf,
  createFaces,
  faceAt,
  renderFace,
  side,
} from './dataset.ts'

const bytes = 3 * side * side
const art = await loadArt()

test('image i depends only on the seed and i', async () => {
  const few = await createFaces(10, 7)
  const many = await createFaces(50, 7)
  assert.deepEqual(few.pixels, many.pixels.subarray(0, 10 * bytes))
  assert.deepEqual(few.labels, many.labels?.subarray(0, 10))
  assert.notDeepEqual(few.pixels, (await createFaces(10, 8)).pixels)
})

test('a seed gives the same bytes in every version and on every machine', async () => {
  const { pixels, labels, classes: names } = await createFaces(100, 1)
  assert.equal(
    createHash('sha256').update(pixels).digest('hex'),
    '2f43724307e6a3cbd1b10904a115832e5ac36f1026a13c996ef4b01c5082f0f2',
  )
  assert.deepEqual(
    [0, 1, 2].map((index) => names[labels![index]!]),
    ['short hair, sunglasses, serious', 'long hair, serious', 'short hair, glasses, serious'],
  )
})

test('the composition of the parts equals DiceBear’s own drawing', async () => {
  const hex = (colour: Colour) => colour.map((value) => value.toString(16).padStart(2, '0')).join('')
  for (let index = 0; index < 60; index++) {
    const face = faceAt(art, 2, index)
    // DiceBear draws beards of dark hair almost transparent, and this project does not.
    const { beard: _, ...parts } = face.parts
    const options: Record<string, unknown> = {
      size: side,
      backgroundColor: [hex(backgrounds[face.background]!)],
      skinColor: [hex(art.palettes.skin[face.skin]!)],
      beard: [],
    }
    for (const kind of partKinds) {
      const choice = kind === 'beard' ? null : parts[kind]
      if (kind === 'beard') continue
      options[kind] = choice === null ? [] : [art.parts[kind][choice.variant]!.name]
      if (choice !== null) options[`${kind}Color`] = [hex(art.palettes[kind][choice.colour]!)]
      options[`${kind}Probability`] = 100
    }
    const svg = createAvatar(pixelArt, options).toString()
    const expected = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer()
    const actual = new Uint8Array(bytes)
    renderFace(art, { ...face, parts: { ...face.parts, beard: null } }, actual)
    for (let pixel = 0; pixel < side * side; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        const difference = actual[channel * side * side + pixel]! - expected[3 * pixel + channel]!
        assert.ok(Math.abs(difference) <= 2, `face ${index}, pixel ${pixel}: ${difference}`)
      }
    }
  }
})

test('the classes are equally frequent, and the label of an image is the class of its attributes', async () => {
  assert.equal(classes.length, 36)
  const count = 3600
  const frequencies = classes.map(() => 0)
  for (let index = 0; index < count; index++) {
    const label = classes.indexOf(classNameOf(attributesOf(art, faceAt(art, 3, index))))
    frequencies[label]! += 1
  }
  // 100 ± 9.9 each. The tolerance is five standard deviations.
  for (const [label, frequency] of frequencies.entries()) {
    assert.ok(Math.abs(frequency - 100) < 50, `${frequency} × ${classes[label]}`)
  }
  const { labels } = await createFaces(50, 3)
  for (let index = 0; index < 50; index++) {
    assert.equal(classes[labels![index]!], classNameOf(attributesOf(art, faceAt(art, 3, index))))
  }
})

test('every part and every colour occurs', () => {
  const faces = Array.from({ length: 6000 }, (_, index) => faceAt(art, 4, index))
  for (const kind of partKinds) {
    const variants = new Set(faces.map(({ parts }) => parts[kind]?.variant))
    variants.delete(undefined)
    assert.equal(variants.size, art.parts[kind].length, kind)
    const colours = new Set(faces.map(({ parts }) => parts[kind]?.colour))
    colours.delete(undefined)
    assert.equal(colours.size, art.palettes[kind === 'beard' ? 'hair' : kind].length, kind)
  }
  assert.equal(new Set(faces.map(({ skin }) => skin)).size, art.palettes.skin.length)
  assert.equal(new Set(faces.map(({ background }) => background)).size, backgrounds.length)
})
