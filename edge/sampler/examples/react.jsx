import { load } from 'ddpm-sampler'
import { useEffect, useRef, useState } from 'react'

/** Shows an image that a model generates in the browser. Generates again when the seed or the steps change. */
export function DiffusionImage({ address, seed, steps = 20 }) {
  const canvas = useRef(null)
  const [status, setStatus] = useState('')
  const model = useModel(address, setStatus)

  useEffect(() => {
    if (!model) return
    const controller = new AbortController()
    const render = (pixels) => {
      canvas.current.width = pixels.width
      canvas.current.height = pixels.height
      canvas.current.getContext('2d').putImageData(pixels, 0, 0)
    }
    const onStep = ({ step, x }) => {
      setStatus(`step ${step + 1} of ${steps}`)
      if (x) render(x[0])
    }
    model
      .sample({ seed, steps, signal: controller.signal, onStep })
      .then(([image]) => {
        render(image.pixels)
        setStatus(`seed ${seed}, generated on ${model.deviceReason}`)
      })
      .catch((error) => {
        if (!controller.signal.aborted) setStatus(error.message)
      })
    return () => controller.abort()
  }, [model, seed, steps])

  return (
    <figure>
      <canvas ref={canvas} aria-label={`Generated from seed ${seed}`} role="img" />
      <figcaption>{status}</figcaption>
    </figure>
  )
}

/** Loads a model; returns null until it is loaded. Disposes it when the component unmounts or the address changes. */
function useModel(address, setStatus) {
  const [model, setModel] = useState(null)
  useEffect(() => {
    const controller = new AbortController()
    const loading = load(address, {
      signal: controller.signal,
      onProgress: ({ stage }) => setStatus(stage),
    })
    loading.then(setModel).catch((error) => {
      if (!controller.signal.aborted) setStatus(error.message)
    })
    return () => {
      controller.abort()
      setModel(null)
      loading.then((loaded) => loaded.dispose()).catch(() => {})
    }
  }, [address, setStatus])
  return model
}
