/**
 * What the last check says to the user: what is wrong, and the remedy, a sentence each.
 *
 * @module
 */

import type { Remedy } from "../errors.ts";
import type { LayerReport, Report } from "../report/report.ts";
import type { OutputEvaluation } from "../evaluate/output_comparison.ts";
import type { LayerDifferences, OutputDifferences } from "./differences.ts";

/** The relative squared error of an output above which the result is hardly of use: a tenth. */
export const MOST_OUTPUT_ERROR = 0.1;
/**
 * The share of samples with the float model's answer, in percent, below which a result is bad: one
 * answer in ten has changed.
 */
export const LEAST_AGREEMENT = 90;
/** Layers that are named, at most. */
const MOST_NAMED = 3;

/** What is wrong with the output `name` on so many held-out samples. */
export function outputWarnings(
  name: string,
  { toFloat, floatBroken, isFloat }: OutputDifferences,
  samples: number,
): string[] {
  const output = `Output "${name}"`, warnings: string[] = [];
  const warn = (count: number, sentence: (ofSamples: string) => string) => {
    if (count > 0) warnings.push(sentence(`for ${count} of ${samples} held-out samples`));
  };
  warn(
    toFloat.lengths,
    (ofSamples) =>
      `${output} has another length than the float model's ${ofSamples}, which were not compared: ` +
      `how long it is depends on the data; judge the file by what you make of it`,
  );
  warn(
    floatBroken,
    (ofSamples) =>
      `${output} of the float model itself is not finite ${ofSamples}, which were not compared; ` +
      `check these samples`,
  );
  warn(
    toFloat.infinite,
    (ofSamples) =>
      `${output} holds the same infinities as the float model's ${ofSamples}, which were left out ` +
      `of the comparison`,
  );
  warn(
    toFloat.broken - floatBroken,
    (ofSamples) =>
      `${output} is not finite ${ofSamples}, where the float model's is; leave the layers before it ` +
      `in float, or give them more bits`,
  );
  // Of numbers of classes or boxes, a difference has no size.
  if (isFloat && toFloat.relative > MOST_OUTPUT_ERROR) {
    warnings.push(
      `The error of output "${name}" is ${percent(toFloat.relative)}, more than ` +
        `${percent(MOST_OUTPUT_ERROR)}: give more bits, float activations or more samples, or ` +
        `learn blocks`,
    );
  }
  return warnings;
}

/** That too many answers have changed for chance. */
export function agreementWarnings(output: OutputEvaluation | undefined): string[] {
  if (output?.kind !== "scores" || output.interval[1] >= LEAST_AGREEMENT) return [];
  const same = Math.round(output.agreement * output.samples / 100);
  return [
    `Only ${same} of ${output.samples} held-out samples give the float ` +
    `model's answer in output "${output.name}": if its values are scores of classes, give more ` +
    `bits, float activations or more samples, or learn blocks`,
  ];
}

/** Whether the figures of `check` are those of a bad result. */
export function isBad(check: Report["check"]): boolean {
  return check !== null &&
    (check.outputs.some(({ evaluation }) =>
      evaluation !== undefined && evaluation.kind !== "integers" &&
      evaluation.mse > MOST_OUTPUT_ERROR
    ) || agreementWarnings(check.outputs[0]?.evaluation).length > 0);
}

/**
 * What to try where the result is bad: 8 bits for the layers that lose most by themselves, as many
 * as {@linkcode MOST_NAMED}.
 */
export function remediesFor(layers: readonly LayerReport[]): Remedy[] {
  const worst = layers.filter(({ bits }) => bits < 8)
    .sort((a, b) => b.error.final - a.error.final).slice(0, MOST_NAMED);
  return worst.map(({ name: pattern }) => ({ option: "overrides", value: { pattern, bits: 8 } }));
}

/**
 * That the file is another model than its simulation, from `layer` on or, without one, at its end.
 */
export function driftWarning(outputs: readonly string[], layer: string | undefined): string {
  const where = layer === undefined
    ? `behind the last layer; leave activations in float`
    : `from layer ${layer} on; leave that layer in float, or all activations`;
  return `The written model differs from the simulation that calibration went by, in output ` +
    `${outputs.map((name) => `"${name}"`).join(", ")}, ${where}`;
}

/** That the layers of `worse` end further from the float model than rounded to nearest. */
export function layerWarnings(worse: readonly LayerDifferences[]): string[] {
  const warnings = worse.slice(0, MOST_NAMED).map(({ layer, simulation, other }) =>
    `${layer.target.name}: the error of its output on held-out samples is ` +
    `${percent(simulation.relative)}, that of nearest rounding ${percent(other.relative)}; ` +
    `give more samples, or round without the float-target shift`
  );
  const others = worse.length - MOST_NAMED;
  if (others > 0) warnings.push(`${others} further layers, too, end worse than nearest rounding`);
  return warnings;
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(2)} %`;
}
