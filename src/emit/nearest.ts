/**
 * Every weight at its nearest level: what any rounding is compared with.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/matrix.ts";
import type { Parts, Rounding } from "../weights/rounding.ts";

/** Shares of the largest weight that levels may reach to. */
const REACHES = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5];

/**
 * `parts` with the weights of the layers among `nodes` rounded to nearest by themselves, and with
 * the layers' own biases.
 */
export function nearestParts(
  plan: Plan,
  { roundings, grids, tables }: Parts,
  nodes: ReadonlySet<NodeProto> = new Set(plan.graph.nodes),
): Parts {
  const layers = plan.layers.filter(({ target: { node, output } }) =>
    nodes.has(node) && roundings.has(output)
  );
  const rounded = layers.map((layer) =>
    [layer.target.output, nearestRounding(layer, readWeight(plan.graph, layer.target))] as const
  );
  return { roundings: new Map(rounded), grids, tables };
}

/**
 * The weights of `layer`, (groups·rows) × depth, at their nearest levels: symmetric, a scale for
 * each row and block, that of least squared error among a few.
 */
export function nearestRounding(layer: LayerPlan, weight: Float32Array): Rounding {
  const { target: { groups, rows, depth }, bits, groupSize, groupsPerRow } = layer;
  const most = 2 ** (bits - 1) - 1, all = groups * rows;
  const levels = new Int8Array(weight.length), scales = new Float32Array(all * groupsPerRow);
  for (let row = 0; row < all; row++) {
    for (let block = 0; block < groupsPerRow; block++) {
      const from = row * depth + block * groupSize;
      const to = Math.min(from + groupSize, (row + 1) * depth);
      const values = weight.subarray(from, to);
      const reach = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      let best = { error: Infinity, scale: 1 };
      for (const share of REACHES) {
        const scale = Math.fround(Math.max(reach * share, 1e-30) / most);
        const error = values.reduce(
          (sum, value) => sum + (nearestLevel(value, scale, most) * scale - value) ** 2,
          0,
        );
        if (error < best.error) best = { error, scale };
      }
      scales[row * groupsPerRow + block] = best.scale;
      values.forEach((value, i) => levels[from + i] = nearestLevel(value, best.scale, most));
    }
  }
  return { levels, scales, lows: new Int8Array(all).fill(-most) };
}

function nearestLevel(value: number, scale: number, most: number): number {
  return Math.max(-most, Math.min(most, Math.round(value / scale)));
}
