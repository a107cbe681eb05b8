import { createOps, type Interpreter, type Op, type Ops, type Primitives, type Shape } from './ops.ts'
import { inferShape } from './shape-rules.ts'

interface NodeBase {
  /** Index in creation order. A node's inputs have smaller indices. */
  readonly id: number
  readonly shape: Shape
}

export interface InputNode extends NodeBase {
  readonly kind: 'input'
  readonly name: string
}

export interface ConstantNode extends NodeBase {
  readonly kind: 'constant'
  readonly values: Float32Array
}

export interface OpNode<O extends Op = Op> extends NodeBase {
  readonly kind: 'op'
  readonly op: O
  readonly inputs: readonly Node[]
  readonly attributes: Primitives[O]
}

export type Node = InputNode | ConstantNode | OpNode

/** A graph under construction. Operations with equal inputs and attributes share one node. */
export interface Graph {
  /** Operations that add nodes to the graph. */
  readonly ops: Ops<Node>
  readonly nodes: readonly Node[]
  /** Returns the input of this name; creates it on the first call. */
  input(name: string, shape: Shape): Node
}

/**
 * Creates an empty graph. An operation with the same inputs and attributes as an earlier one returns the earlier node, so
 * that common subexpressions of forward and backward pass are computed once.
 */
export function createGraph(): Graph {
  const nodes: Node[] = []
  const nodesByKey = new Map<string, Node>()

  function findOrCreate(key: string, create: (id: number) => Node): Node {
    let node = nodesByKey.get(key)
    if (!node) {
      node = create(nodes.length)
      nodes.push(node)
      nodesByKey.set(key, node)
    }
    return node
  }

  const interpreter: Interpreter<Node> = {
    apply(op, inputs, attributes) {
      const shape = inferShape(
        op,
        inputs.map((node) => node.shape),
        attributes,
      )
      const key = `${op} ${inputs.map((node) => node.id)} ${JSON.stringify(attributes)}`
      return findOrCreate(key, (id) => ({ kind: 'op', id, op, inputs, attributes, shape }))
    },
    shape: (node) => node.shape,
    constant(values, shape) {
      const copy = Float32Array.from(values)
      // Only small constants are deduplicated: comparing large ones costs more than it saves.
      const key = copy.length <= 16 ? `constant ${copy} ${shape}` : `constant ${nodes.length}`
      return findOrCreate(key, (id) => ({ kind: 'constant', id, values: copy, shape }))
    },
  }

  return {
    ops: createOps(interpreter),
    nodes,
    input: (name, shape) => findOrCreate(`input ${name}`, (id) => ({ kind: 'input', id, name, shape })),
  }
}

/** Returns the nodes `outputs` and all nodes that they depend on, in creation order. */
export function reachable(outputs: readonly Node[]): Node[] {
  const visited = new Set<Node>()
  const stack = [...outputs]
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (visited.has(node)) continue
    visited.add(node)
    if (node.kind === 'op') stack.push(...node.inputs)
  }
  return [...visited].sort((a, b) => a.id - b.id)
}

/**
 * Evaluates a graph with an interpreter.
 * @param feeds values of the inputs by name
 * @returns the values of `outputs`
 * @throws Error if an input has no value in `feeds`
 */
export function evaluate<T>(
  outputs: readonly Node[],
  interpreter: Interpreter<T>,
  feeds: ReadonlyMap<string, T>,
): T[] {
  const values = new Map<Node, T>()
  const valueAt = (node: Node): T => {
    const value = values.get(node)
    if (value === undefined) throw new Error(`Cannot evaluate the graph: node ${node.id} has no value.`)
    return value
  }
  for (const node of reachable(outputs)) values.set(node, compute(node))
  return outputs.map(valueAt)

  function compute(node: Node): T {
    switch (node.kind) {
      case 'input': {
        const value = feeds.get(node.name)
        if (value === undefined)
          throw new Error(`Cannot evaluate the graph: its input "${node.name}" has no value in feeds.`)
        return value
      }
      case 'constant':
        return interpreter.constant(node.values, node.shape as readonly number[])
      case 'op':
        return interpreter.apply(node.op, node.inputs.map(valueAt), node.attributes)
    }
  }
}
