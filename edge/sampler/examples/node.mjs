// Generates two images with a published model, and writes them as PNG files.
//
//   npm install ddpm-sampler sharp
//   node node.mjs https://ddpm.example.workers.dev/me/kittens 7
//
// The first argument can also be the folder of an exported model; the second one is the seed.
import { load } from 'ddpm-sampler/node'
import sharp from 'sharp'

const [address, seed = '1'] = process.argv.slice(2)
const model = await load(address)
const images = await model.sample({
  count: 2,
  seed: Number(seed),
  onStep: ({ step, steps }) => process.stderr.write(`\rstep ${step + 1} of ${steps}`),
})
for (const { pixels, index } of images) {
  const { width, height } = pixels
  const path = `seed${seed}-${index}.png`
  await sharp(pixels.data, { raw: { width, height, channels: 4 } })
    .png()
    .toFile(path)
  console.log(`\n${path}`)
}
