/**
 * Builds a gradient graph: nodes and constants with fresh names, and the shape of each tensor.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { AttuneError } from "../errors.ts";
import { freshName } from "../graph/graph.ts";
import { type AttributeValue, makeNode } from "../onnx/model.ts";
import { floatTensor, int64Tensor, sizeOf } from "../onnx/tensor.ts";

/** The shape of a tensor. */
export type Shape = readonly number[];

/** Attributes of a node to make. */
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** The nodes and constants of a gradient graph, as they are made. */
export class Tape {
  /** The nodes, each after those it reads from. */
  readonly nodes: NodeProto[] = [];
  /** Constants that the nodes read. */
  readonly initializers: TensorProto[] = [];
  readonly #shapes: Map<string, Shape>;
  readonly #names: Set<string>;
  readonly #constants = new Map<string, string>();
  readonly #gradients = new Map<string, string[]>();

  /** The opset of the nodes, 13 or later. */
  readonly opset: number;

  /** A tape beside a graph whose tensors have these shapes and whose `names` are taken. */
  constructor(shapes: ReadonlyMap<string, Shape>, names: Set<string>, opset: number) {
    this.#shapes = new Map(shapes);
    this.#names = names;
    this.opset = opset;
  }

  /** A name that nothing has yet. */
  fresh(base: string): string {
    return freshName(base, this.#names);
  }

  /** The shape of a tensor of the graph, or of one that this tape made. */
  shape(name: string): Shape {
    const shape = this.#shapes.get(name);
    if (shape) return shape;
    throw new AttuneError("internal", `The shape of "${name}" is not known`);
  }

  /** A node of one output of shape `shape`; returns the output's name. */
  node(op: string, inputs: readonly string[], shape: Shape, attributes: Attributes = {}): string {
    const output = this.fresh(`gradient_${op}`);
    this.nodes.push(makeNode(op, output, [...inputs], [output], attributes));
    this.#shapes.set(output, shape);
    return output;
  }

  /** A constant list of whole numbers. */
  ints(values: readonly number[]): string {
    return this.#constant(
      `ints ${values}`,
      (name) => int64Tensor(name, [values.length], [...values]),
    );
  }

  /** A constant float32 scalar. */
  scalar(value: number): string {
    const name = this.#constant(
      `scalar ${value}`,
      (name) => floatTensor(name, [], Float32Array.of(value)),
    );
    this.#shapes.set(name, []);
    return name;
  }

  /** A constant float32 tensor. */
  floats(values: Float32Array, shape: Shape): string {
    const name = this.fresh("gradient_constant");
    this.initializers.push(floatTensor(name, [...shape], values));
    this.#shapes.set(name, shape);
    return name;
  }

  #constant(key: string, make: (name: string) => TensorProto): string {
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = this.fresh("gradient_constant");
      this.initializers.push(make(name));
      this.#constants.set(key, name);
    }
    return name;
  }

  /** An element-wise node; its shape is the broadcast one of its inputs. */
  map(op: string, ...inputs: string[]): string {
    return this.node(op, inputs, broadcast(inputs.map((name) => this.shape(name))));
  }

  /** `x` in another shape. */
  reshape(x: string, shape: Shape): string {
    if (shape.join() === this.shape(x).join()) return x;
    return this.node("Reshape", [x, this.ints(shape)], shape);
  }

  /** `x` with its axes in another order. */
  transpose(x: string, order: readonly number[]): string {
    const shape = this.shape(x);
    // Moving axes of length 1 moves nothing.
    const moving = order.filter((axis) => shape[axis] !== 1);
    const turned = order.map((axis) => shape[axis]);
    if (moving.every((axis, i) => i === 0 || axis > moving[i - 1])) return this.reshape(x, turned);
    return this.node("Transpose", [x], turned, { perm: order.map(BigInt) });
  }

  /** Sums over `axes`, which stay as axes of length 1. */
  sum(x: string, axes: readonly number[]): string {
    if (axes.length === 0) return x;
    const shape = this.shape(x).map((size, axis) => axes.includes(axis) ? 1 : size);
    return this.node("ReduceSum", [x, this.ints(axes)], shape, { keepdims: 1n });
  }

  /** `x` summed up to `shape`, which was broadcast to that of `x`. */
  sumTo(x: string, shape: Shape): string {
    const from = this.shape(x), lead = from.length - shape.length;
    const axes = from.flatMap((size, axis) =>
      axis < lead || (shape[axis - lead] === 1 && size !== 1) ? [axis] : []
    );
    return this.reshape(this.sum(x, axes), shape);
  }

  /** `x` repeated to `shape`. */
  expand(x: string, shape: Shape): string {
    if (shape.join() === this.shape(x).join()) return x;
    return this.node("Expand", [x, this.ints(shape)], shape);
  }

  /** `x` times a number. */
  times(x: string, factor: number): string {
    return factor === 1 ? x : this.map("Mul", x, this.scalar(factor));
  }

  /** Zeros (or `value`) before and after each axis. */
  pad(x: string, before: Shape, after: Shape, value = 0): string {
    if ([...before, ...after].every((size) => size === 0)) return x;
    const shape = this.shape(x).map((size, axis) => size + before[axis] + after[axis]);
    return this.node("Pad", [x, this.ints([...before, ...after]), this.scalar(value)], shape);
  }

  /** Elements start, start + step, … of each axis, `counts` of them. */
  slice(x: string, starts: Shape, counts: Shape, steps: Shape = counts.map(() => 1)): string {
    const shape = this.shape(x);
    const axes = shape.flatMap((size, axis) =>
      starts[axis] === 0 && counts[axis] === size && steps[axis] === 1 ? [] : [axis]
    );
    if (axes.length === 0) return x;
    const ends = starts.map((start, axis) => start + (counts[axis] - 1) * steps[axis] + 1);
    const of = (list: Shape) => this.ints(axes.map((axis) => list[axis]));
    return this.node("Slice", [x, of(starts), of(ends), this.ints(axes), of(steps)], counts);
  }

  /** Tensors one after another along `axis`. */
  concat(parts: readonly string[], axis: number): string {
    if (parts.length === 1) return parts[0];
    const shape = [...this.shape(parts[0])];
    shape[axis] = parts.reduce((sum, part) => sum + this.shape(part)[axis], 0);
    return this.node("Concat", parts, shape, { axis: BigInt(axis) });
  }

  /** The sum of all `terms`, of one shape. */
  total(terms: readonly string[]): string {
    return terms.reduce((sum, term) => this.map("Add", sum, term));
  }

  /** A · B for stacks of matrices. */
  matmul(a: string, b: string): string {
    const left = this.shape(a), right = this.shape(b);
    const stack = broadcast([left.slice(0, -2), right.slice(0, -2)]);
    return this.node("MatMul", [a, b], [...stack, left.at(-2)!, right.at(-1)!]);
  }

  /** Records `gradient`, of the shape of `name`, as a term of the gradient of `name`. */
  add(name: string, gradient: string): void {
    const terms = this.#gradients.get(name);
    if (terms) terms.push(gradient);
    else this.#gradients.set(name, [gradient]);
  }

  /** How many terms the gradient of `name` has. */
  terms(name: string): number {
    return this.#gradients.get(name)?.length ?? 0;
  }

  /** The gradient of `name`; undefined where nothing depends on it. */
  gradient(name: string): string | undefined {
    const terms = this.#gradients.get(name);
    if (terms === undefined) return undefined;
    const sum = this.total(terms);
    this.#gradients.set(name, [sum]);
    return sum;
  }

  /** Number of elements of a tensor. */
  size(name: string): number {
    return sizeOf(this.shape(name));
  }
}

/** The shape that tensors of these shapes are broadcast to. */
export function broadcast(shapes: readonly Shape[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
}
