/**
 * What a differentiation rule sees of a node.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { readInts } from "../onnx/tensor.ts";
import type { Shape, Tape } from "./tape.ts";

/** A node to differentiate. */
export class Site {
  /** Where the rule puts its nodes. */
  readonly tape: Tape;
  /** The node. */
  readonly node: NodeProto;
  /** Gradients of its outputs; undefined for those that nothing depends on. */
  readonly gradients: readonly (string | undefined)[];
  readonly #wanted: ReadonlySet<string>;
  readonly #constants: ReadonlyMap<string, TensorProto>;

  /** `wanted`: the tensors whose gradients are needed. */
  constructor(
    tape: Tape,
    node: NodeProto,
    gradients: readonly (string | undefined)[],
    wanted: ReadonlySet<string>,
    constants: ReadonlyMap<string, TensorProto>,
  ) {
    this.tape = tape;
    this.node = node;
    this.gradients = gradients;
    this.#wanted = wanted;
    this.#constants = constants;
  }

  /** The gradient of the first output. */
  get gradient(): string {
    return this.gradients[0]!;
  }

  /** The name of input `i`. */
  input(i: number): string {
    return this.node.input[i];
  }

  /** The first output, as the graph has computed it. */
  get output(): string {
    return this.node.output[0];
  }

  /** The shape of input `i`. */
  shape(i: number): Shape {
    return this.tape.shape(this.input(i));
  }

  /** Whether the gradient of input `i` is needed. */
  wants(i: number): boolean {
    return this.#wanted.has(this.node.input[i] ?? "");
  }

  /** Adds to the gradient of input `i`, if it is needed; sums over what was broadcast. */
  give(i: number, gradient: () => string): void {
    if (this.wants(i)) this.tape.add(this.input(i), this.tape.sumTo(gradient(), this.shape(i)));
  }

  /** The whole numbers of the constant input `i`; undefined where it is left out. */
  ints(i: number): number[] | undefined {
    const tensor = this.#constants.get(this.node.input[i] ?? "");
    return tensor && readInts(tensor);
  }
}

/** Adds the gradients of a node's inputs, given those of its outputs. */
export type Rule = (site: Site) => void;
