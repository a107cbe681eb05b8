import type { OpNode } from '../../../algebra/graph.ts'
import type { Op } from '../../../algebra/ops.ts'
import { type Emitter, microsoftDomain } from './emitter.ts'
import { dataTypes } from './schema.ts'

/** Emits the ONNX operators of one primitive and returns the name of the result. */
export type Lowering<O extends Op> = (emitter: Emitter, inputs: readonly string[], node: OpNode<O>) => string

const operator =
  (opType: string) =>
  ({ emit }: Emitter, inputs: readonly string[]) =>
    emit(opType, inputs)

type Elementwise =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'exp'
  | 'log'
  | 'sqrt'
  | 'sigmoid'
  | 'silu'
  | 'clamp'
  | 'within'
  | 'stopGradient'

/** Lowerings of the elementwise primitives, which do not depend on the order of elements in memory. */
export const elementwise: { readonly [O in Elementwise]: Lowering<O> } = {
  add: operator('Add'),
  sub: operator('Sub'),
  mul: operator('Mul'),
  div: operator('Div'),
  exp: operator('Exp'),
  log: operator('Log'),
  sqrt: operator('Sqrt'),
  sigmoid: operator('Sigmoid'),
  silu({ emit, dialect }, [x]) {
    if (dialect === 'onnxruntime')
      return emit('QuickGelu', [x!], { alpha: { float: 1 } }, { domain: microsoftDomain })
    return emit('Mul', [x!, emit('Sigmoid', [x!])])
  },
  clamp: ({ emit, float }, [x], { attributes: { min, max } }) =>
    emit('Clip', [x!, float([min], []), float([max], [])]),
  within({ emit, float }, [x], { attributes: { min, max } }) {
    const clipped = emit('Clip', [x!, float([min], []), float([max], [])])
    return emit('Cast', [emit('Equal', [x!, clipped])], { to: dataTypes.float })
  },
  stopGradient: (_, [x]) => x!,
}
