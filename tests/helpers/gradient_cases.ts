/** Cases of single nodes, for every rule of differentiation. */

import { type AttributeValue, makeNode } from "../../src/onnx/model.ts";
import { int64Tensor } from "../../src/onnx/tensor.ts";
import { noise } from "./models.ts";
import { type Case, checkGradients } from "./central_differences.ts";

/** Attributes of a node by their names. */
export type Attributes = Record<string, AttributeValue>;
/** `values` as attributes hold them: in 64 bits. */
export const ints = (...values: number[]) => values.map(BigInt);

/** One node of the operator `op` with the tensors a, b, c, … as its inputs. */
export function single(
  op: string,
  shapes: readonly (readonly number[])[],
  attributes: Attributes = {},
  more: Partial<Case> & { inputs?: string[] } = {},
): Case {
  const names = shapes.map((_, i) => "abcdef"[i]);
  return {
    nodes: [makeNode(op, op, more.inputs ?? names, more.outputs ?? ["y"], attributes)],
    tensors: Object.fromEntries(names.map((name, i) => [name, shapes[i]])),
    ...more,
  };
}

/** A test that checks the gradients of `cases`, each by its name. */
export function suite(name: string, cases: Record<string, Case>): void {
  Deno.test(name, async () => {
    for (const [what, test] of Object.entries(cases)) await checkGradients(what, test);
  });
}

/** The whole numbers that an operator takes as an input. */
export const list = (name: string, ...values: number[]) =>
  int64Tensor(name, [values.length], values);
/** One node that reads a tensor of `dims`, and whole numbers as its other inputs. */
export const moved = (
  op: string,
  dims: number[],
  attributes: Attributes,
  ...lists: number[][]
): Case =>
  single(op, [dims], attributes, {
    inputs: ["a", ...lists.map((_, i) => `list${i}`)],
    constants: lists.map((values, i) => list(`list${i}`, ...values)),
  });

/** Noise that stays clear of zero. */
export const positive = (length: number, seed: number) =>
  noise(length, seed).map((value) => 0.3 + Math.abs(value));
