/**
 * Plans and results in words and tables.
 *
 * @module
 */

import type { ModelEvaluation } from "../evaluate/evaluate.ts";
import type { Interval } from "../evaluate/interval.ts";
import type { OutputEvaluation } from "../evaluate/output_comparison.ts";
import type { Block } from "../blocks/partition.ts";
import type { GramPlan } from "../weights/layer.ts";
import { gridName } from "../weights/grid.ts";
import type { Plan } from "../plan/plan.ts";
import type { Storage } from "../weights/storage.ts";
import type { BlockReport, Report } from "../report/report.ts";
import { printable } from "../printable.ts";
import { bytes, duration } from "../report/format.ts";
import { describeAllocation, SHARE_HEAD, shareCells } from "./describe_bits.ts";
import { flagOf } from "./remedies.ts";
import { table } from "./table.ts";

/** What becomes of each layer, what stays in float and why. */
export function describePlan(plan: Plan): string {
  const { layers, tables, skipped, activations, prepared, size, allocation } = plan;
  const rows = layers.map((layer, i) => {
    const { target, bits, storage, granularity, gram, bytesBefore, bytesAfter } = layer;
    return [
      target.name,
      target.op,
      target.shape.join("×"),
      gridName(layer),
      storage.bits === bits ? "" : `stored in ${storage.bits}`,
      granularity.kind === "group" ? `group of ${granularity.size}` : granularity.kind,
      bytes(bytesBefore),
      bytes(bytesAfter),
      ...(allocation ? shareCells(allocation, i) : []),
      [layer.note, storageNote(storage), gramNote(gram)].filter(Boolean).join(", "),
    ];
  });
  const embeddings = tables.map(({ nodes, weight, shape, bits, bytesBefore, bytesAfter }) =>
    `embedding table: ${nodes.join(", ")} (${weight}, ${shape.join("×")}): ${bits} bits, ` +
    `${bytes(bytesBefore)} → ${bytes(bytesAfter)}`
  );
  const head = [
    ...["layer", "operator", "weight", "bits", "", "scales", "before", "after"],
    ...(allocation ? SHARE_HEAD : []),
    "note",
  ];
  const quantized = activations.ranged.length + activations.shared.size;
  return [
    table(head, rows),
    "",
    ...[...embeddings, ...describeFloats(skipped), ...prepared].map(printable),
    ...(allocation ? [describeAllocation(allocation)] : []),
    `${layers.length} layers quantized, ${skipped.length} left in float, ` +
    `${
      quantized === 0
        ? "activations in float"
        : `${quantized} activations in ${plan.options.activationBits} bits`
    }`,
    `weights and constants: ${bytes(size.before)} → ${bytes(size.after)}`,
  ].join("\n");
}

/** What stays in float, a line each; vectors, of which there are many and none is large, in one. */
function describeFloats(skipped: Plan["skipped"]): string[] {
  const vectors = skipped.filter(({ reason }) => reason === "vector");
  const lines = skipped.filter((each) => !vectors.includes(each)).map(
    ({ name, op, reason, weight, bytes: size }) =>
      `stays in float: ${name} (${op}): ${reason}` +
      (weight !== undefined && size !== undefined ? ` (${weight}, ${bytes(size)})` : ""),
  );
  if (vectors.length === 0) return lines;
  const all = vectors.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  return [...lines, `stay in float: ${vectors.length} vectors, such as biases, ${bytes(all)}`];
}

/** The blocks that --blocks learns, a line each. */
export function describeBlocks(blocks: readonly Block[]): string {
  const rows = blocks.map(({ steps, inputs, outputs }, i) => [
    `${i + 1}`,
    steps.flat().map(({ target }) => target.name).join(", "),
    inputs.join(", "),
    outputs.join(", "),
  ]);
  return table(["block", "layers", "reads", "gives"], rows);
}

/** What a plan says of a layer that is not kept as the format asks for. */
function storageNote({ format, fallback }: Storage): string {
  return fallback === undefined ? "" : `${format}: ${fallback}`;
}

/** What a plan says of a layer whose Gram matrix does not fit into the kernel's memory. */
function gramNote(gram: GramPlan): string {
  return gram.kind === "full" ? "" : `too deep for all of its statistics: blocks of ${gram.size}`;
}

/** What a run did, in a few lines. */
export function describeResult(
  report: Report,
  output: string,
  file: { readonly before: number; readonly after: number },
): string {
  const { layers, blocks, skipped, samples, check, stages, warnings } = report;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const spent = stages.map((stage) => `${stage.name} ${duration(stage.seconds)}`).join(", ");
  return [
    `${output}: ${bytes(file.before)} → ${bytes(file.after)} ` +
    `(${(file.before / file.after).toFixed(1)} times smaller)`,
    `${layers.length} layers quantized ` +
    (samples.calibration > 0 ? `on ${samples.calibration} samples` : "without samples") +
    (skipped.length > 0 ? `, ${skipped.length} left in float` : "") +
    (samples.skipped ? `, ${samples.skipped} samples unreadable` : ""),
    ...(report.allocation ? [describeAllocation(report.allocation)] : []),
    ...(blocks.length > 0 ? [describeLearning(blocks)] : []),
    check === null
      ? samples.heldOut > 0
        ? "not compared with the float model: the warnings say why"
        : samples.calibration > 0
        ? "not checked: give at least 16 samples to have some held out"
        : "not checked: attune evaluate compares it with the float model on samples"
      : describeCheck(check, samples.heldOut),
    ...describeNested(report.nested, output, samples.heldOut),
    `${duration(seconds)}: ${spent}`,
    ...warnings.map((warning) => printable(`warning: ${warning}`)),
    ...(report.remedies ? [printable(`try: ${report.remedies.map(flagOf).join(" ")}`)] : []),
  ].join("\n");
}

/** Held-out samples below which a share of them is no headline: 31 of 32 may as well be 84 %. */
const LEAST_FOR_PERCENT = 32;

/** How far the written model is from the float model. */
function describeCheck(
  { mseToFloat, agreementToFloat, interval, outputs }: NonNullable<Report["check"]>,
  heldOut: number,
): string {
  const error = `output error ${span(mseToFloat, interval.mseToFloat, 2, 100)}`;
  const others = outputs.length === 1
    ? []
    : outputs.flatMap(({ evaluation }) =>
      evaluation === undefined ? [] : [`  ${outputFigures(evaluation)}`]
    );
  const same = heldOut < LEAST_FOR_PERCENT
    ? `${error}; ${Math.round(agreementToFloat * heldOut / 100)} of them give the float model's ` +
      `answer`
    : `${span(agreementToFloat, interval.agreementToFloat, 1)} the same answer as the float ` +
      `model, ${error}`;
  return [`on ${heldOut} held-out samples: ${same}`, ...others].join("\n");
}

/** A share of so many samples: in percent where they are enough for that. */
export function share(percent: number, samples: number): string {
  return samples < LEAST_FOR_PERCENT
    ? `${Math.round(percent * samples / 100)} of ${samples}`
    : `${percent.toFixed(1)} %`;
}

/** A figure in percent with its interval. */
function span(value: number, interval: Interval, digits: number, factor = 1): string {
  const [low, high] = interval.map((end) => (factor * end).toFixed(digits));
  return `${(factor * value).toFixed(digits)} % (${low} … ${high})`;
}

/** An output by what suits it, in a line. */
function outputFigures(output: OutputEvaluation): string {
  if (output.kind === "integers") return `${output.name}: ${output.equal.toFixed(1)} % equal`;
  const { name, mse, sqnr, cosine: { mean, least } } = output;
  const answers = output.kind === "scores" && output.samples >= LEAST_FOR_PERCENT
    ? `, ${span(output.agreement, output.interval, 1)} the same answer`
    : "";
  return `${name}: error ${(100 * mse).toFixed(2)} %${
    sqnr === null ? "" : ` (${sqnr.toFixed(1)} dB)`
  }, ` +
    `cosine ${mean.toFixed(4)}, at least ${least.toFixed(4)}${answers}`;
}

/** What the widths of nested grids come to, with the commands that cut them. */
function describeNested(
  nested: Report["nested"],
  output: string,
  heldOut: number,
): string[] {
  if (nested === undefined || nested.length === 0) return [];
  const rows = nested.map(({ bits, bytes: size, mse, agreement }) => [
    `${bits}`,
    bytes(size),
    mse === null ? "" : `${(100 * mse).toFixed(2)} %`,
    agreement === null ? "" : share(agreement, heldOut),
    `attune cut ${output} --bits ${bits} -o ${output.replace(/(\.onnx)?$/, `.${bits}.onnx`)}`,
  ]);
  return [table(["bits", "file", "output error", "same answer", "cut by"], rows)];
}

/** What learning blocks has brought, in a line. */
function describeLearning(blocks: readonly BlockReport[]): string {
  const learned = blocks.filter(({ outcome }) => outcome === "learned");
  const less = learned.map(({ error }) => 1 - error!.after / error!.before).sort((a, b) => a - b);
  const most = blocks.reduce((most, { iterations }) => Math.max(most, iterations), 0);
  return `${learned.length} of ${blocks.length} blocks are better for up to ${most} iterations of learning` +
    (less.length > 0
      ? `, by ${(100 * less[less.length >> 1]).toFixed(1)} % of their error (median)`
      : "");
}

/** The figures of an evaluation. */
export function describeEvaluation(result: ModelEvaluation): string {
  const { samples, top1, top5, reference, agreement, mse, kl, interval, outputs, metric } = result;
  const between = (ends: Interval | null, digits: number, factor = 1) =>
    ends === null ? "" : ends.map((value) => (factor * value).toFixed(digits)).join(" … ");
  const accuracy = (
    name: string,
    ofModel: number | null,
    ofReference: number | null,
    change: Interval | null,
  ) =>
    ofModel === null || ofReference === null ? [] : [[
      name,
      `${ofModel.toFixed(2)} %`,
      `${ofReference.toFixed(2)} %`,
      `change ${between(change, 2)} points`,
    ]];
  const rows = [
    ...accuracy("top-1", top1, reference.top1, interval.top1),
    ...accuracy("top-5", top5, reference.top5, interval.top5),
    [
      "same answer",
      samples < LEAST_FOR_PERCENT
        ? `${Math.round(agreement * samples / 100)} of ${samples}`
        : `${agreement.toFixed(2)} %`,
      "",
      between(interval.agreement, 2),
    ],
    ["output error", `${(100 * mse).toFixed(3)} %`, "", between(interval.mse, 3, 100)],
    ["divergence", `${kl.toFixed(4)}`, "", between(interval.kl, 4)],
    ...(metric === undefined ? [] : [[
      metric.name,
      metric.model.toPrecision(4),
      metric.reference.toPrecision(4),
      metric.change === null ? "" : `change ${between(metric.change, 4)}`,
    ]]),
  ];
  return [
    table([`${samples} samples`, "model", "reference", "95 % interval"], rows),
    ...(outputs.length > 1 || outputs[0].kind === "values" ? outputs.map(outputFigures) : []),
  ].join("\n");
}
