/**
 * What `inspect` says of bits: coding lengths, and the widths that each strategy would give.
 *
 * @module
 */

import { allocateAverage, allocateClusters } from "../allocate/allocate.ts";
import { jointLengthPerWeight, lengthPerWeight } from "../allocate/coding.ts";
import type { LayerMeasures } from "../allocate/layer_measures.ts";
import { STRATEGIES } from "../plan/bits.ts";
import type { Plan } from "../plan/plan.ts";
import { isFree } from "../weights/layer.ts";
import { percent } from "../report/format.ts";
import { table } from "./table.ts";

/** Bits on average that strategies are compared at. */
const AVERAGE = 4;
/** The relative squared error that coding lengths are listed at: about what 4 bits give. */
const ERROR = 0.01;

/** What is listed of a layer. */
export interface BitsOfLayer {
  /** The layer's name. */
  readonly name: string;
  /** Its number of weights. */
  readonly parameters: number;
  /** Its coding length, in bits, at an error of 1 % of its outputs (or weights). */
  readonly codingLength: number;
  /** The same per weight. */
  readonly lengthPerWeight: number;
  /** The joint coding length per weight. */
  readonly jointLengthPerWeight: number;
  /** Its squared output error at 4 bits relative to its output's power; needs samples. */
  readonly error?: number;
  /** What a relative error of this layer adds to that of the model's outputs, per unit; needs samples. */
  readonly sensitivity?: number;
  /** The widths that each strategy gives for 4 bits on average; clusters go by their widths. */
  readonly bits: Readonly<Record<string, number>>;
}

/** What `measures` say of the layers of `plan`. */
export function bitsOfLayers(plan: Plan, measures: readonly LayerMeasures[]): BitsOfLayer[] {
  if (!plan.layers.some(isFree)) return [];
  const outputs = measures.every((own) => own.outputs);
  const gradients = measures.every((own) => own.outputs?.gradient !== undefined);
  const usable = STRATEGIES.filter((strategy) =>
    strategy === "gradient"
      ? gradients
      : outputs || strategy.startsWith("coding-length") || strategy === "nuclear"
  );
  const plans = new Map([
    ...usable.map((s) => [s as string, allocateAverage(plan, measures, s, AVERAGE)] as const),
    ["clusters", allocateClusters(plan, measures)],
  ]);
  const byWeight = new Map(measures.map((own) => [own.layer.target.weight, own]));
  return plan.layers.map(({ target }, i) => {
    const own = byWeight.get(target.weight)!;
    const length = lengthPerWeight(own, ERROR);
    return {
      name: target.name,
      parameters: own.weights,
      codingLength: length * own.weights,
      lengthPerWeight: length,
      jointLengthPerWeight: jointLengthPerWeight(own, ERROR),
      error: own.outputs?.errors[AVERAGE - 2],
      sensitivity: own.outputs?.sensitivity,
      bits: Object.fromEntries(
        [...plans].map(([name, { layers }]) => [name, layers[i].bits]),
      ),
    };
  });
}

/** {@linkcode bitsOfLayers} as a table. */
export function describeBits(layers: readonly BitsOfLayer[]): string {
  if (layers.length === 0) return "";
  const strategies = Object.keys(layers[0].bits), known = layers[0].error !== undefined;
  const head = [
    ...["layer", "parameters", "length", "per weight", "joint"],
    ...(known ? ["error", "sensitivity"] : []),
    ...strategies,
  ];
  const rows = layers.map((layer) => [
    layer.name,
    `${layer.parameters}`,
    layer.codingLength.toFixed(0),
    layer.lengthPerWeight.toFixed(2),
    layer.jointLengthPerWeight.toFixed(2),
    ...(known ? [percent(layer.error!), layer.sensitivity!.toPrecision(2)] : []),
    ...strategies.map((name) => `${layer.bits[name]}`),
  ]);
  return [
    `coding lengths in bits at an error of ${percent(ERROR)} of a layer's ` +
    `${known ? "outputs" : "weights"}; bits that strategies give for ${AVERAGE} on average` +
    (known ? "" : " (more with --data)"),
    table(head, rows),
  ].join("\n");
}
