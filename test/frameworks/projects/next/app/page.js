import { Sampler } from './sampler'

export default async function Page({ searchParams }) {
  const { model = '' } = await searchParams
  return (
    <main>
      <h1>Next</h1>
      <Sampler address={model} />
    </main>
  )
}
