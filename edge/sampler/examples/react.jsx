import { load } from 'ddpm-sampler'
import { useEffect, useRef, useState } from 'react'

/** A picture that a model draws, and draws anew when seed or steps change. */
export function Drawing({ address, seed, steps = 20 }) {
  const canvas = useRef(null)
  const [status, setStatus] = useState('')
  const model = useModel(address, setStatus)

  useEffect(() => {
    if (!model) return
    const drawing = new AbortController()
    const show = (picture) => {
      canvas.current.width = picture.width
      canvas.current.height = picture.height
      canvas.current.getContext('2d').putImageData(picture, 0, 0)
    }
    const onStep = ({ step, x }) => {
      setStatus(`step ${step + 1} of ${steps}`)
      if (x) show(x[0])
    }
    model
      .sample({ seed, steps, signal: drawing.signal, onStep })
      .then(([picture]) => {
        show(picture.pixels)
        setStatus(`seed ${seed}, drawn on ${model.deviceReason}`)
      })
      .catch((error) => {
        if (!drawing.signal.aborted) setStatus(error.message)
      })
    return () => drawing.abort()
  }, [model, seed, steps])

  return (
    <figure>
      <canvas ref={canvas} aria-label={`Drawn from seed ${seed}`} role="img" />
      <figcaption>{status}</figcaption>
    </figure>
  )
}

/** The model of an address, null until it is there; let go of when the component goes or takes another. */
function useModel(address, setStatus) {
  const [model, setModel] = useState(null)
  useEffect(() => {
    const loading = new AbortController()
    const ready = load(address, {
      signal: loading.signal,
      onProgress: ({ stage }) => setStatus(stage),
    })
    ready.then(setModel).catch((error) => {
      if (!loading.signal.aborted) setStatus(error.message)
    })
    return () => {
      loading.abort()
      setModel(null)
      ready.then((loaded) => loaded.dispose()).catch(() => {})
    }
  }, [address, setStatus])
  return model
}
