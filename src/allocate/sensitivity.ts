/**
 * Sensitivity: what a relative error of one layer's outputs does to those of the model.
 *
 * The layer is rounded, the rest of the model runs on a few samples as it is, and its outputs are
 * compared with the float ones. Errors of layers add up, about, so this is the weight of each
 * layer's own error.
 *
 * @module
 */

import { openPart, simulatedParts, type Types } from "../forward/open_part.ts";
import type { Rounding } from "../emit/build.ts";
import { ancestors } from "../graph/extract.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { EnginePool } from "../workers/pool.ts";

/** Samples that sensitivity is found on, about. */
export const PROBE_SAMPLES = 32;
/**
 * The width that a probed layer is rounded to: coarse enough to be seen above the noise of float32.
 */
export const PROBE_BITS = 3;

/** A layer to probe. */
export interface Probe {
  /** The layer. */
  readonly layer: LayerPlan;
  /** The layer rounded to {@linkcode PROBE_BITS}. */
  readonly rounding: Rounding;
  /** Its squared output error then, relative to its output's power. */
  readonly error: number;
  /** The tensors that the lanes hold, those before node `start`. */
  readonly types: Types;
  /** Index of the first node that runs. */
  readonly start: number;
  /** Lanes that remember what the float model says. */
  readonly lanes: number;
}

/**
 * The relative squared error of the model's outputs per relative squared error of the layer's own.
 */
export async function probeLayer(
  plan: Plan,
  pool: EnginePool,
  { layer, rounding, error, types, start, lanes }: Probe,
  onDone: (batches: number) => void,
): Promise<number> {
  const { nodes } = plan.graph, outputs = [...new Set(plan.graph.outputs)];
  const later = new Set(nodes.slice(start).flatMap((node) => node.output));
  // Other outputs do not depend on the layer, and have no error.
  const reached = outputs.filter((output) =>
    later.has(output) &&
    ancestors(nodes, [output], new Set(types.keys())).includes(layer.target.node)
  );
  if (reached.length === 0 || !(error > 0)) return 0;
  const roundings = new Map([[layer.target.output, rounding]]);
  const source = simulatedParts(plan, { roundings, grids: new Map() });
  await openPart(pool, "probe", source, types, reached);
  const totals = new Map<string, { error: number; power: number }>();
  const results = pool.perLane(
    lanes,
    (client, lane) => client.call("outputErrors", [lane, "probe"], onDone),
  );
  for await (const errors of results) {
    for (const [output, sums] of Object.entries(errors)) {
      const total = totals.get(output) ?? { error: 0, power: 0 };
      totals.set(output, { error: total.error + sums.error, power: total.power + sums.power });
    }
  }
  await pool.close();
  let relative = 0;
  for (const { error, power } of totals.values()) relative += power > 0 ? error / power : 0;
  return relative / outputs.length / error;
}
