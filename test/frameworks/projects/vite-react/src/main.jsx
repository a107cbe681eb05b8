import { load } from 'ddpm-sampler'
import { StrictMode, useEffect, useState } from 'react'
import { createRoot } from 'react-dom/client'

const address = new URLSearchParams(location.search).get('model')

function App() {
  const [status, setStatus] = useState('loading')
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
        setStatus('done')
      })
      .catch((error) => {
        if (!signal.aborted) globalThis.result = { error: `${error.code}: ${error.message}` }
      })
    return () => controller.abort()
  }, [])
  return <output>{status}</output>
}

createRoot(document.querySelector('main')).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
