/**
 * Weights without samples: what BatchNormalization's statistics are worth.
 *
 * @module
 */

import {
  evaluate,
  openSamples,
  plan,
  type PreprocessPreset,
  quantizeWeights,
  readModel,
  startPool,
  type WeightOptions,
} from "../mod.ts";
import { type BenchOptions, markdown, type Section, subjects } from "./run.ts";

/** Images that are judged by. */
const IMAGES = 500;

/** Nearest levels by the weights alone, then with what the model tells, then with biases, too. */
const WAYS: readonly [name: string, told: boolean, options: WeightOptions][] = [
  ["weights alone", false, {}],
  ["weighted", true, { biasCorrection: false }],
  ["weighted, biases corrected", true, {}],
];

/** Accuracy without samples, where the models still have BatchNormalization. */
export async function dataFree(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    const model = readModel(subject.model);
    for (const bits of [8, 4, 3]) {
      const made = plan(model, { bits, activationBits: "none", format: "packed" });
      if (made.moments.size === 0) continue;
      const preset = subject.flags[1] as PreprocessPreset;
      const set = await openSamples(subject.val, {
        inputs: made.inputs,
        preprocess: { preset, resize: "none" },
        limit: Math.min(IMAGES, options.samples),
      });
      for (const [name, told, how] of WAYS) {
        const { model: small } = await quantizeWeights(
          told ? made : { ...made, moments: new Map() },
          how,
        );
        using pool = await startPool();
        const { top1, reference, agreement, mse } = await evaluate(
          small,
          model,
          set.samples(),
          pool,
        );
        rows.push([
          subject.name,
          `W${bits}`,
          name,
          ...[top1!, reference.top1!, agreement, 100 * mse].map((x) => x.toFixed(2)),
        ]);
        console.error(rows.at(-1)!.join("  "));
      }
    }
  }
  const head = ["model", "bits", "how", "top-1", "float", "same answer, %", "output error, %"];
  return { title: "Without samples", body: markdown(head, rows) };
}
