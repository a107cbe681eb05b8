import { suite, test } from 'node:test'
import { type Case, cases } from '../../../../test/support/cases.ts'
import { checkOnnx } from '../../../../test/support/onnx.ts'
import type { Op } from '../../algebra/ops.ts'

for (const dialect of ['standard', 'onnxruntime'] as const) {
  suite(`every primitive in onnxruntime matches float64 (dialect ${dialect})`, () => {
    for (const op of Object.keys(cases) as Op[]) {
      for (const [number, c] of cases[op].entries()) {
        test(`${op} ${number}`, () => checkOnnx(op, c as Case<Op>, { dialect }))
      }
    }
  })
}
