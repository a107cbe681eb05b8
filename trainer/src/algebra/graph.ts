import { createOps, type Interpreter, type Op, type Ops, type Primitives, type Shape } from './ops.ts'
import { shapeOf } from './shape-rules.ts'

interface Common {
  /** Position in creation order: inputs come before what is made from them. */
  readonly id: number
  readonly shape: Shape
}

export interface InputNode extends Common {
  readonly kind: 'input'
  readonly name: string
}

export interface ConstantNode extends Common {
  readonly kind: 'constant'
  readonly values: Float32Array
}

export interface OpNode<O extends Op = Op> extends Common {
  readonly kind: 'op'
  readonly op: O
  readonly inputs: readonly Node[]
  readonly attributes: Primitives[O]
}

export type Node = InputNode | ConstantNode | OpNode

/** A recorder of operations: what is written over its `ops` becomes nodes, each distinct one once. */
export interface Graph {
  readonly ops: Ops<Node>
  readonly nodes: readonly Node[]
  input(name: string, shape: Shape): Node
}

/**
 * An empty graph. An operation that was recorded before, with the same inputs and attributes, gives the same node
 * again, so common subexpressions of forward and backward pass are computed once.
 */
export function createGraph(): Graph {
  const nodes: Node[] = []
  const known = new Map<string, Node>()

  function remember(key: string, create: (id: number) => Node): Node {
    let node = known.get(key)
    if (!node) {
      node = create(nodes.length)
      nodes.push(node)
      known.set(key, node)
    }
    return node
  }

  const interpreter: Interpreter<Node> = {
    apply(op, inputs, attributes) {
      const shape = shapeOf(
        op,
        inputs.map((node) => node.shape),
        attributes,
      )
      const key = `${op} ${inputs.map((node) => node.id)} ${JSON.stringify(attributes)}`
      return remember(key, (id) => ({ kind: 'op', id, op, inputs, attributes, shape }))
    },
    shape: (node) => node.shape,
    constant(values, shape) {
      const held = Float32Array.from(values)
      // Only small constants are worth comparing; large ones are written once by whoever makes them.
      const key = held.length <= 16 ? `constant ${held} ${shape}` : `constant ${nodes.length}`
      return remember(key, (id) => ({ kind: 'constant', id, values: held, shape }))
    },
  }

  return {
    ops: createOps(interpreter),
    nodes,
    input: (name, shape) => remember(`input ${name}`, (id) => ({ kind: 'input', id, name, shape })),
  }
}

/** The nodes that the given ones are made from, themselves included, in creation order. */
export function reachable(outputs: readonly Node[]): Node[] {
  const found = new Set<Node>()
  const waiting = [...outputs]
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (found.has(node)) continue
    found.add(node)
    if (node.kind === 'op') waiting.push(...node.inputs)
  }
  return [...found].sort((a, b) => a.id - b.id)
}

/**
 * Runs a graph on an interpreter.
 * @param feeds the value of every input by its name
 * @returns the values of `outputs`
 */
export function evaluate<T>(
  outputs: readonly Node[],
  interpreter: Interpreter<T>,
  feeds: ReadonlyMap<string, T>,
): T[] {
  const values = new Map<Node, T>()
  const valueAt = (node: Node): T => {
    const value = values.get(node)
    if (value === undefined) throw new Error(`Node ${node.id} has no value.`)
    return value
  }
  for (const node of reachable(outputs)) values.set(node, compute(node))
  return outputs.map(valueAt)

  function compute(node: Node): T {
    switch (node.kind) {
      case 'input': {
        const value = feeds.get(node.name)
        if (value === undefined) throw new Error(`The graph's input "${node.name}" was not fed.`)
        return value
      }
      case 'constant':
        return interpreter.constant(node.values, node.shape as readonly number[])
      case 'op':
        return interpreter.apply(node.op, node.inputs.map(valueAt), node.attributes)
    }
  }
}
