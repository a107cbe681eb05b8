import type { OpNode } from '../../../algebra/graph.ts'
import type { Op } from '../../../algebra/ops.ts'
import { type Emitter, microsoft } from './emitter.ts'

/** How one primitive becomes ONNX operators; returns the name of the value. */
export type Lowering<O extends Op> = (emitter: Emitter, inputs: readonly string[], node: OpNode<O>) => string

const simple =
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

/** What is computed element by element: the same in any layout. */
export const elementwise: { readonly [O in Elementwise]: Lowering<O> } = {
  add: simple('Add'),
  sub: simple('Sub'),
  mul: simple('Mul'),
  div: simple('Div'),
  exp: simple('Exp'),
  log: simple('Log'),
  sqrt: simple('Sqrt'),
  sigmoid: simple('Sigmoid'),
  silu({ emit, dialect }, [x]) {
    if (dialect === 'onnxruntime')
      return emit('QuickGelu', [x!], { alpha: { float: 1 } }, { domain: microsoft })
    return emit('Mul', [x!, emit('Sigmoid', [x!])])
  },
  clamp: ({ emit, float }, [x], { attributes: { min, max } }) =>
    emit('Clip', [x!, float([min], []), float([max], [])]),
  within({ emit, float }, [x], { attributes: { min, max } }) {
    const clipped = emit('Clip', [x!, float([min], []), float([max], [])])
    return emit('Cast', [emit('Equal', [x!, clipped])], { to: 1 /* float */ })
  },
  stopGradient: (_, [x]) => x!,
}
