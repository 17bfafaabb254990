/**
 * What `inspect` says of bits: coding lengths, and the widths that each strategy would give.
 *
 * @module
 */

import { allocateAverage, allocateClusters } from "../allocate/allocate.ts";
import { jointLengthPerWeight, lengthPerWeight } from "../strategies/coding_length.ts";
import type { LayerMeasures } from "../allocate/layer_measures.ts";
import { errorAt } from "../strategies/measures.ts";
import { STRATEGIES, strategyNames, suffices } from "../strategies/strategies.ts";
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
  /**
   * ∂(error of the model's outputs) / ∂(error of this layer's outputs), relative; needs samples.
   */
  readonly sensitivity?: number;
  /** The widths that each strategy gives for 4 bits on average; clusters go by their widths. */
  readonly bits: Readonly<Record<string, number>>;
}

/** What `measures` say of the layers of `plan`. */
export function bitsOfLayers(plan: Plan, measures: readonly LayerMeasures[]): BitsOfLayer[] {
  if (!plan.layers.some(isFree)) return [];
  const usable = strategyNames().filter((name) =>
    measures.every((layer) => suffices(layer, STRATEGIES[name].needs))
  );
  const plans = new Map([
    ...usable.map((name) =>
      [name as string, allocateAverage(plan, measures, name, AVERAGE)] as const
    ),
    ["clusters", allocateClusters(plan, measures)],
  ]);
  const byWeight = new Map(measures.map((layer) => [layer.layer.target.weight, layer]));
  return plan.layers.map(({ target }, i) => {
    const layer = byWeight.get(target.weight)!;
    const length = lengthPerWeight(layer, ERROR);
    return {
      name: target.name,
      parameters: layer.weights,
      codingLength: length * layer.weights,
      lengthPerWeight: length,
      jointLengthPerWeight: jointLengthPerWeight(layer, ERROR),
      error: layer.outputs && errorAt(layer.outputs.errors, AVERAGE),
      sensitivity: layer.outputs?.sensitivity,
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
