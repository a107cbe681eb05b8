'use client'

import { load } from 'ddpm-sampler'
import 'ddpm-sampler/element'
import { useEffect } from 'react'

export function Sampler({ address }) {
  useEffect(() => {
    const controller = new AbortController()
    const { signal } = controller
    load(address, { signal })
      .then(async (model) => {
        const images = await model.sample({ seed: 7, count: 2, steps: 4, signal })
        globalThis.result = {
          images: images.map(({ pixels }) => [...pixels.data]),
          device: model.deviceReason,
        }
      })
      .catch((error) => {
        if (!signal.aborted) globalThis.result = { error: `${error.code}: ${error.message}` }
      })
    return () => controller.abort()
  }, [address])
  return <diffusion-canvas model={address} seed="7" count="4" steps="4" />
}
