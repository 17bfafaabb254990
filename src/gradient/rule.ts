/**
 * What a differentiation rule sees of a node.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import type { Shape, Tape } from "./tape.ts";

/** A node to differentiate. */
export class Site {
  /** Where the rule puts its nodes. */
  readonly tape: Tape;
  /** The node. */
  readonly node: NodeProto;
  /** Gradients of its outputs; undefined for those that nothing depends on. */
  readonly gradients: readonly (string | undefined)[];
  readonly #needGradient: ReadonlySet<string>;
  readonly #ints: (name: string) => readonly number[] | undefined;

  /**
   * `needGradient`: the tensors whose gradients are needed; `ints`: whole numbers that are known.
   */
  constructor(
    tape: Tape,
    node: NodeProto,
    gradients: readonly (string | undefined)[],
    needGradient: ReadonlySet<string>,
    ints: (name: string) => readonly number[] | undefined,
  ) {
    this.tape = tape;
    this.node = node;
    this.gradients = gradients;
    this.#needGradient = needGradient;
    this.#ints = ints;
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
    return this.#needGradient.has(this.node.input[i] ?? "");
  }

  /** Adds to the gradient of input `i`, if it is needed; sums over what was broadcast. */
  give(i: number, gradient: () => string): void {
    if (this.wants(i)) this.tape.add(this.input(i), this.tape.sumTo(gradient(), this.shape(i)));
  }

  /**
   * The whole numbers of input `i`; undefined where it is left out.
   *
   * @throws {Error} where they depend on the data.
   */
  ints(i: number): readonly number[] | undefined {
    const name = this.node.input[i] ?? "";
    if (name === "") return undefined;
    const values = this.#ints(name);
    if (values) return values;
    throw new Error(`its input ${i} depends on the data, which has no gradient here`);
  }
}

/** Adds the gradients of a node's inputs, given those of its outputs. */
export type Rule = (site: Site) => void;
