import { load } from 'ddpm-sampler'

// The test passes the model's address, the device and the runtime folder, and reads the result.
const { model: address, ...options } = Object.fromEntries(new URLSearchParams(location.search))
load(address, options)
  .then(async (model) => {
    const images = await model.sample({ seed: 7, count: 2, steps: 4 })
    globalThis.result = {
      images: images.map(({ pixels }) => [...pixels.data]),
      device: model.deviceReason,
    }
  })
  .catch((error) => {
    globalThis.result = { error: `${error.code}: ${error.message}` }
  })
