/**
 * What the statistics of layers tell of them: spectra, and what rounding to each width costs.
 *
 * @module
 */

import type { Rounding } from "../emit/build.ts";
import type { Statistics } from "../engine/statistics.ts";
import { biasOf } from "../layer/bias.ts";
import { layerAtWidth } from "../plan/layer.ts";
import { leastShares } from "../plan/memory.ts";
import type { Plan } from "../plan/plan.ts";
import { problemOf, sharesOf } from "../round/problem.ts";
import type { WidthErrors } from "../round/width_errors.ts";
import { WIDTHS } from "../strategies/measures.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/matrix.ts";
import type { Job } from "../forward/job.ts";
import type { EnginePool } from "../workers/pool.ts";
import {
  type LayerMeasures,
  spectrumFrom,
  spectrumProblem,
  weightMeasures,
} from "./layer_measures.ts";
import { PROBE_BITS } from "./sensitivity.ts";

/** A layer whose statistics are at hand. */
export interface CollectedLayer {
  /** The layer. */
  readonly layer: LayerPlan;
  /** Of its inputs and outputs. */
  readonly statistics: Statistics;
  /** Whether means were taken out of them. */
  readonly centred: boolean;
}

/** What is known of a layer before it is probed. */
export interface MeasuredLayer {
  /** The layer. */
  readonly layer: LayerPlan;
  /** What its weights tell. */
  readonly measures: LayerMeasures;
  /** Of W H Wᵀ. */
  readonly eigenvalues: Float64Array;
  /** Squared output error relative to the output's power, by width. */
  readonly errors: readonly number[];
  /** The mean of H's diagonal. */
  readonly trace: number;
  /** The layer rounded to {@linkcode PROBE_BITS}, and its relative error. */
  readonly probe: { readonly rounding: Rounding; readonly error: number };
}

/** What is found of a layer by the kernel. */
interface KernelResults {
  /** Eigenvalues of W Wᵀ, and of W H Wᵀ. */
  plain?: Float64Array;
  shaped?: Float64Array;
  /** By share of its rows. */
  readonly errors: WidthErrors[];
}

/** How layers are measured. */
interface Options {
  /** Damping of H relative to the mean of its diagonal. */
  readonly damping: number;
  /** Whether biases will set means right. */
  readonly biasCorrection: boolean;
}

/** Measures what was `collected` on the engines of a job. */
export async function measureCollected(
  { plan, pool, seed }: Pick<Job, "plan" | "pool" | "seed">,
  collected: readonly CollectedLayer[],
  options: Options,
): Promise<MeasuredLayer[]> {
  const results = collected.map((): KernelResults => ({ errors: [] }));
  await pool.run(
    collected.flatMap((each, l) => tasksOf(plan, each, { ...options, seed }, results[l])),
  );
  return collected.map((each, l) => measuredFrom(plan, each, results[l]));
}

/** What an engine is asked for. */
type Task = (client: EnginePool["clients"][number]) => Promise<void>;

/** The tasks that find the `results` of a layer. */
function tasksOf(
  plan: Plan,
  { layer, statistics }: CollectedLayer,
  options: Options & Pick<Job, "seed">,
  results: KernelResults,
): Task[] {
  const weight = readWeight(plan.graph, layer.target);
  const moments = { gram: statistics.gram, damping: options.damping };
  const settings = {
    ...options,
    rounding: { kind: "nearest" },
    floatTargetShift: false,
    scaleRefit: false,
    strength: Infinity,
    index: 0,
  } as const;
  return [
    async (client) => {
      results.plain = await client.call("spectrum", [spectrumProblem(layer, weight)]);
    },
    async (client) => {
      results.shaped = await client.call("spectrum", [spectrumProblem(layer, weight, moments)]);
    },
    ...sharesOf(layer, leastShares(layer.target)).map((share, s): Task => async (client) => {
      const problems = WIDTHS.map((bits) =>
        problemOf(layerAtWidth(plan, layer, bits), share, weight, statistics, settings)
      );
      const keep = WIDTHS.indexOf(PROBE_BITS);
      results.errors[s] = await client.call("widthErrors", [problems, keep]);
    }),
  ];
}

/** What the kernel's results say of a layer. */
function measuredFrom(
  plan: Plan,
  { layer, statistics, centred }: CollectedLayer,
  { plain, shaped, errors }: KernelResults,
): MeasuredLayer {
  const { output, weight, power, rounding } = joined(errors);
  const relative = [...output].map((error) => power > 0 ? error / power : 0);
  const rounded = layerAtWidth(plan, layer, PROBE_BITS);
  const { bias } = biasOf(plan, rounded, rounding, statistics, centred, undefined);
  return {
    layer,
    measures: weightMeasures(layer, plain!, weight),
    eigenvalues: shaped!,
    errors: relative,
    trace: meanDiagonal(statistics.gram, layer),
    probe: { rounding: { ...rounding, bias }, error: relative[WIDTHS.indexOf(PROBE_BITS)] },
  };
}

/** The errors of all shares of a layer. */
function joined(shares: readonly WidthErrors[]): Required<WidthErrors> & { rounding: Rounding } {
  const output = new Float64Array(WIDTHS.length), weight = new Float64Array(WIDTHS.length);
  for (const share of shares) {
    share.output.forEach((error, i) => output[i] += error);
    share.weight.forEach((error, i) => weight[i] += error);
  }
  return {
    output,
    weight,
    power: shares.reduce((sum, share) => sum + share.power, 0),
    rounding: {
      levels: Int8Array.from(shares.flatMap(({ rounding }) => [...rounding!.levels])),
      scales: Float32Array.from(shares.flatMap(({ rounding }) => [...rounding!.scales])),
      lows: Int8Array.from(shares.flatMap(({ rounding }) => [...rounding!.lows])),
    },
  };
}

/** The mean of the diagonal of H, over all groups. */
function meanDiagonal(gram: Float32Array, { target }: LayerPlan): number {
  const { groups, depth } = target;
  const width = gram.length / (groups * depth);
  let sum = 0;
  for (let i = 0; i < groups * depth; i++) sum += gram[i * width + i % width];
  return sum / (groups * depth);
}

/** All that is known of a layer, once it was probed. */
export function withSensitivity(
  { layer, measures, eigenvalues, errors, trace }: MeasuredLayer,
  sensitivity: number,
): LayerMeasures {
  const spectrum = spectrumFrom(layer, eigenvalues);
  return { ...measures, outputs: { spectrum, errors, trace, sensitivity } };
}
