/**
 * Rounds embedding tables. No layer's statistics say which of a row's values matter more, so each
 * block gets the scale of least squared error and its values the nearest levels.
 *
 * @module
 */

import type { Rounding } from "../emit/build.ts";
import { readFloats } from "../onnx/tensor.ts";
import { levelWindows } from "../weights/levels.ts";
import type { Plan } from "../plan/plan.ts";
import type { EnginePool } from "../workers/pool.ts";

/** Values that are rounded at a time. */
const VALUES_AT_ONCE = 2 ** 20;

/** A rounded table. */
export interface RoundedTable {
  /** Levels and scales. */
  readonly rounding: Rounding;
  /** Squared error of its values, relative to their power. */
  readonly error: number;
}

/** The tables of `plan`, rounded by the engines of `pool`; by the initializer's name. */
export async function roundTables(
  plan: Plan,
  pool: EnginePool,
): Promise<Map<string, RoundedTable>> {
  const rounded = new Map<string, RoundedTable>();
  for (const { weight, shape: [rows, depth], bits, groupSize, groupsPerRow } of plan.tables) {
    const values = readFloats(plan.graph.constant(weight)!, plan.model.external);
    const unit = Float32Array.from(
      { length: groupSize * groupSize },
      (_, i) => Number(i % (groupSize + 1) === 0),
    );
    const share = Math.max(1, Math.floor(VALUES_AT_ONCE / depth));
    const solutions = await pool.run(
      Array.from({ length: Math.ceil(rows / share) }, (_, i) => {
        const some = values.slice(i * share * depth, (i + 1) * share * depth);
        // Every block is a row of its own, with the unit matrix as H.
        const problem = {
          groups: 1,
          rows: some.length / groupSize,
          depth: groupSize,
          // The operator would need a zero point for each block of any other levels.
          windows: levelWindows(bits, true),
          grid: { kind: "uniform" } as const,
          groupSize,
          oneScale: false,
          weight: some,
          gram: unit,
          gramTile: groupSize,
          damping: 0.01,
          method: { kind: "nearest" } as const,
          refit: false,
          seed: 0,
          stream: 0,
        };
        return (client) => client.call("solve", [problem]);
      }),
    );
    const levels = new Int8Array(rows * depth), scales = new Float32Array(rows * groupsPerRow);
    let error = 0, power = 0;
    solutions.forEach((solution, i) => {
      levels.set(solution.levels, i * share * depth);
      scales.set(solution.scales, i * share * groupsPerRow);
      error += solution.error.final;
      power += solution.power;
    });
    rounded.set(weight, {
      rounding: { levels, scales, lows: new Int8Array(rows).fill(-(2 ** (bits - 1))) },
      error: power > 0 ? error / power : 0,
    });
  }
  return rounded;
}
