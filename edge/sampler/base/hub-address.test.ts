import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseHubAddress } from './hub-address.ts'

suite('the address of a model on the Hugging Face hub', () => {
  const main = { name: 'ada/cats.v2', revision: 'main' }
  const branch = { name: 'ada/cats.v2', revision: 'small/fp16' }
  for (const [text, expected] of [
    ['hf:ada/cats.v2', main],
    ['hf:ada/cats.v2@small/fp16', branch],
    ['https://huggingface.co/ada/cats.v2', main],
    ['https://huggingface.co/ada/cats.v2/', main],
    ['https://hf.co/ada/cats.v2?not-for-all-audiences=true', main],
    ['https://huggingface.co/ada/cats.v2/tree/small%2Ffp16', branch],
    ['https://huggingface.co/ada/cats.v2/blob/main/model.onnx', main],
    ['https://huggingface.co/ada/cats.v2/resolve/main/manifest.json', main],
    ['https://huggingface.co/ada', null],
    ['https://huggingface.co/datasets/ada/cats', null],
    ['https://huggingface.co/ada/cats/tree/%', null],
    ['https://models.example/ada/cats', null],
    ['hf:ada', null],
    ['hf:ada/../eve', null],
    ['hf:ada/cats@', null],
    ['ada/cats', null],
  ] as const) {
    test(text, () => assert.deepEqual(parseHubAddress(text), expected))
  }
})
