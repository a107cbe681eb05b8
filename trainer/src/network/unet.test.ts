import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createGraph } from '../algebra/graph.ts'
import { layoutOf } from './parameters.ts'
import { defaultUNet, dropoutLayout, parameterSpecs, type UNetConfig, unet, validateUNet } from './unet.ts'

function outputShape(config: UNetConfig, [n, ...image]: readonly [number, number, number, number]) {
  const graph = createGraph()
  const node = unet(graph.ops, config, ({ name, shape }) => graph.input(name, shape), {
    x: graph.input('x', [n, ...image]),
    timestep: graph.input('timestep', [n]),
    label: null,
  })
  return node.shape
}

test('the defaults have as many trainable parameters as the original, and map 64×64 RGB to itself', () => {
  assert.equal(layoutOf(parameterSpecs(defaultUNet)).size, 17_217_923)
  assert.deepEqual(outputShape(defaultUNet, [3, 3, 64, 64]), [3, 3, 64, 64])
})

test('with the CIFAR-10 widths it has as many parameters as the published network', () => {
  const config = {
    ...defaultUNet,
    baseChannels: 128,
    channelMultiples: [1, 2, 2, 2],
    attention: [false, true, false, false],
  }
  assert.equal(layoutOf(parameterSpecs(config)).size, 35_746_307)
})

test('zero initialisation concerns the last layer of every branch and of the network', () => {
  const zero = (config: UNetConfig) =>
    parameterSpecs(config)
      .filter(
        ({ name, initializer }) =>
          /weight$/.test(name) && initializer.kind === 'constant' && initializer.value === 0,
      )
      .map(({ name }) => name)
  assert.deepEqual(zero(defaultUNet), [])
  const names = zero({ ...defaultUNet, zeroInit: true })
  assert.ok(names.includes('final.2.weight'))
  assert.ok(names.includes('bottleneck_blocks.0.attention.mhsa.out_proj.weight'))
  assert.equal(
    names.filter((name) => name.endsWith('.conv_2.weight')).length,
    dropoutLayout(defaultUNet, { height: 64, width: 64 }).blocks.size,
  )
  assert.equal(names.length, 1 + 22 + 6)
})

test('arguments that fit no network are refused by name', () => {
  const refused = (change: Partial<UNetConfig>, message: RegExp, image?: { height: number; width: number }) =>
    assert.throws(() => validateUNet({ ...defaultUNet, ...change }, image), { name: 'UserError', message })
  refused({ baseChannels: 20 }, /baseChannels 20; expected a multiple of 8/)
  refused({ attention: [true] }, /attention for 1 levels/)
  refused({ channelMultiples: [1, 0, 2, 4] }, /channelMultiples 1,0,2,4/)
  refused({ dropout: 1 }, /dropout 1/)
  refused({}, /pictures of 28×28; expected height and width divisible by 8/, { height: 28, width: 28 })
})

test('shapes that do not fit are named with the operation', () => {
  const { ops, input } = createGraph()
  const x = input('x', ['N', 3, 8, 8])
  assert.throws(
    () => ops.conv2d(x, input('w', [4, 2, 3, 3]), null, { stride: 1, padding: [1, 1, 1, 1] }),
    /conv2d: found \[N, 3, 8, 8\] and \[4, 2, 3, 3\]; expected 2 input channels/,
  )
  assert.throws(() => ops.reshape(x, ['N', 100]), /reshape: found \[N, 3, 8, 8\]; expected as many elements/)
})
