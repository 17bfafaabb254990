/**
 * The check of nested grids: every model that can be cut of the file, beside the float model.
 *
 * @module
 */

import { cut } from "../emit/narrow.ts";
import { NESTED_KEY, readNested } from "../emit/nested.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { OutputComparison, type OutputEvaluation } from "../evaluate/output_comparison.ts";
import { openModels, rowsOfRun } from "../evaluate/outputs.ts";
import { asItIs } from "../forward/relay.ts";
import { lengthOf, modelChunks } from "../onnx/chunks.ts";
import type { Model } from "../onnx/model.ts";
import type { Plan } from "../plan/plan.ts";
import type { NestedReport } from "../report/report.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { CheckOptions } from "./check.ts";

/**
 * What each width comes to that `model`, a file by `plan`, can be cut to; the widest first. None
 * where all layers keep the widest. As in the last check, what cannot be compared takes no finished
 * work away: its figures are null.
 */
export async function checkNested(
  plan: Plan,
  model: Model,
  pool: EnginePool,
  options: Omit<CheckOptions, "isNearest">,
): Promise<NestedReport[]> {
  if (!model.proto.metadataProps.some(({ key }) => key === NESTED_KEY)) return [];
  const reports: NestedReport[] = [];
  for (const bits of readNested(model).widths) {
    const narrowed = cut(model, bits), bytes = lengthOf(modelChunks(narrowed));
    const figures = await compare(plan, narrowed, pool, options).catch((error) => {
      checkAborted(options.signal);
      if (error instanceof AttuneError && error.code === "aborted") throw error;
      return undefined;
    });
    const told = figures?.kind === "scores" ? figures : undefined;
    reports.push({ bits, bytes, mse: told?.mse ?? null, agreement: told?.agreement ?? null });
  }
  return reports;
}

/** The first output of `narrowed` beside the float model's; undefined without samples. */
async function compare(
  plan: Plan,
  narrowed: Model,
  pool: EnginePool,
  { heldOut, batching, signal }: Omit<CheckOptions, "isNearest">,
): Promise<OutputEvaluation | undefined> {
  const [name] = plan.graph.outputs, output = new OutputComparison(name, "scores");
  if (heldOut.length === 0) return undefined;
  const runners = [plan.model, narrowed].map((each) => ({ ...asItIs(each), outputs: [name] }));
  const models = await openModels(pool, runners, pool.clients.slice(0, 1));
  for await (const run of models.outputsOf(heldOut, { batching, signal })) {
    const [float, file] = run.outputs.map((outputs) =>
      rowsOfRun(batching, run, name, outputs[name])
    );
    float.forEach((row, i) => output.add(row, file[i]));
  }
  return output.result();
}
