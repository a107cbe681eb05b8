import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createGraph } from '../algebra/graph.ts'
import { defaultUNet, type UNetConfig, validateUNet } from './config.ts'
import { createParameterLayout } from './parameters.ts'
import { dropoutLayout, parameterSpecs, unet } from './unet.ts'

function outputShape(config: UNetConfig, [n, ...image]: readonly [number, number, number, number]) {
  const graph = createGraph()
  const node = unet(graph.ops, config, ({ name, shape }) => graph.input(name, shape), {
    x: graph.input('x', [n, ...image]),
    timestep: graph.input('timestep', [n]),
    label: null,
  })
  return node.shape
}

test('the default network has the parameter count of the original PyTorch network and preserves the image shape', () => {
  assert.equal(createParameterLayout(parameterSpecs(defaultUNet)).size, 17_217_923)
  assert.deepEqual(outputShape(defaultUNet, [3, 3, 64, 64]), [3, 3, 64, 64])
})

test('with the CIFAR-10 hyperparameters, the network has the published parameter count', () => {
  const config = {
    ...defaultUNet,
    baseChannels: 128,
    channelMultiples: [1, 2, 2, 2],
    attention: [false, true, false, false],
  }
  assert.equal(createParameterLayout(parameterSpecs(config)).size, 35_746_307)
})

test('zeroInit applies to the last layer of every residual branch and to the last layer of the network', () => {
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

test('an invalid configuration is rejected with the name of the option', () => {
  const rejects = (change: Partial<UNetConfig>, message: RegExp, image?: { height: number; width: number }) =>
    assert.throws(() => validateUNet({ ...defaultUNet, ...change }, image), { name: 'UserError', message })
  rejects({ baseChannels: 20 }, /Invalid baseChannels 20: expected a multiple of 8/)
  rejects({ attention: [true] }, /Invalid attention true: expected 4 values, .* got 1/)
  rejects({ channelMultiples: [1, 0, 2, 4] }, /Invalid channelMultiples 1,0,2,4: expected positive integers/)
  rejects({ dropout: 1 }, /Invalid dropout 1: expected a probability/)
  rejects({ numResBlocks: 0 }, /Invalid numResBlocks 0: expected a positive integer/)
  rejects({ normEps: 0 }, /Invalid normEps 0: expected a positive number/)
  rejects({ heads: 7 }, /Invalid heads 7: expected a divisor of .* \(128, 256\)/)
  rejects({ classes: -1 }, /Invalid classes -1: expected a non-negative integer/)
  rejects({}, /Invalid image size 28×28: expected height and width divisible by 8/, { height: 28, width: 28 })
  rejects({}, /Use --size 32×32 or 40×40/, { height: 33, width: 33 })
})

test('a shape error names the operation, the expected and the actual shapes', () => {
  const { ops, input } = createGraph()
  const x = input('x', ['N', 3, 8, 8])
  assert.throws(
    () => ops.conv2d(x, input('w', [4, 2, 3, 3]), null, { stride: 1, padding: [1, 1, 1, 1] }),
    /Invalid shapes for conv2d: expected 2 input channels.*, got \[N, 3, 8, 8\] and \[4, 2, 3, 3\]/,
  )
  assert.throws(
    () => ops.reshape(x, ['N', 100]),
    /Invalid shapes for reshape: expected as many elements .*, got \[N, 3, 8, 8\]/,
  )
})
