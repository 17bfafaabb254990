/**
 * Gradients of matrix products: of A · B with respect to A they are g · Bᵀ, with respect to B Aᵀ ·
 * g.
 *
 * @module
 */

import { floatAttribute, intAttribute } from "../../onnx/model.ts";
import type { Rule, Site } from "../rule.ts";
import type { Tape } from "../tape.ts";

/** The last two axes exchanged. */
function turned(tape: Tape, x: string): string {
  const rank = tape.shape(x).length;
  const order = Array.from({ length: rank }, (_, i) => i);
  return tape.transpose(x, [...order.slice(0, -2), rank - 1, rank - 2]);
}

const matMul: Rule = (site) => {
  const { tape } = site;
  const [left, right] = [site.shape(0), site.shape(1)];
  // Vectors stand for a matrix of one row, or one column.
  const a = left.length === 1 ? tape.reshape(site.input(0), [1, left[0]]) : site.input(0);
  const b = right.length === 1 ? tape.reshape(site.input(1), [right[0], 1]) : site.input(1);
  const rows = tape.shape(a).at(-2)!, columns = tape.shape(b).at(-1)!;
  const stack = tape.shape(site.gradient).slice(
    0,
    tape.shape(site.gradient).length - Number(left.length > 1) - Number(right.length > 1),
  );
  const g = tape.reshape(site.gradient, [...stack, rows, columns]);
  const give = (i: number, gradient: () => string) => {
    if (!site.wants(i)) return;
    const shape = tape.shape(i === 0 ? a : b);
    tape.add(site.input(i), tape.reshape(tape.sumTo(gradient(), shape), site.shape(i)));
  };
  give(0, () => tape.matmul(g, turned(tape, b)));
  give(1, () => {
    // One matrix for a whole stack: a single product over all rows, instead of one each and a sum.
    if (tape.shape(b).length > 2 || tape.shape(a).length === 2) {
      return tape.matmul(turned(tape, a), g);
    }
    const depth = tape.shape(a).at(-1)!, all = tape.size(a) / depth;
    return tape.matmul(
      turned(tape, tape.reshape(a, [all, depth])),
      tape.reshape(g, [all, columns]),
    );
  });
};

const gemm: Rule = (site) => {
  const { tape, node } = site;
  const [transA, transB] = ["transA", "transB"].map((name) => intAttribute(node, name, 0) === 1);
  const [a, b] = [site.input(0), site.input(1)];
  const g = tape.times(site.gradient, floatAttribute(node, "alpha", 1));
  const product = (x: string, turnX: boolean, y: string, turnY: boolean) =>
    tape.matmul(turnX ? turned(tape, x) : x, turnY ? turned(tape, y) : y);
  // With respect to A: g Bᵀ, and the transpose of that where A was transposed.
  site.give(0, () => transA ? product(b, transB, g, true) : product(g, false, b, !transB));
  site.give(1, () => transB ? product(g, true, a, transA) : product(a, !transA, g, false));
  site.give(2, () => tape.times(site.gradient, floatAttribute(node, "beta", 1)));
};

/** Gradients of matrix products, by operator. */
export const linear: Readonly<Record<string, (site: Site) => void>> = {
  MatMul: matMul,
  Gemm: gemm,
};
