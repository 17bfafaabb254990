/**
 * Plans and results in words and tables.
 *
 * @module
 */

import type { Evaluation, Interval } from "../evaluate/metrics.ts";
import type { Block } from "../blocks/partition.ts";
import type { GramPlan } from "../weights/layer.ts";
import { gridName } from "../weights/grid.ts";
import type { Plan } from "../plan/plan.ts";
import type { Storage } from "../weights/storage.ts";
import type { BlockReport, Report } from "../report/report.ts";
import { printable } from "../printable.ts";
import { bytes, duration } from "../report/format.ts";
import { describeAllocation, SHARE_HEAD, shareCells } from "./describe_bits.ts";
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
    `weights and constants: ${bytes(size.before)} → ${bytes(size.after)} ` +
    `(${(size.before / size.after).toFixed(1)} times smaller)`,
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
      : `on ${samples.heldOut} held-out samples: ${check.agreementToFloat.toFixed(1)} % the same ` +
        `answer as the float model, output error ${(100 * check.mseToFloat).toFixed(2)} %`,
    `${duration(seconds)}: ${spent}`,
    ...warnings.map((warning) => printable(`warning: ${warning}`)),
  ].join("\n");
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
export function describeEvaluation(result: Evaluation): string {
  const { samples, top1, top5, reference, agreement, mse, kl, interval } = result;
  const span = (between: Interval | null, digits: number, factor = 1) =>
    between === null ? "" : between.map((value) => (factor * value).toFixed(digits)).join(" … ");
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
      `change ${span(change, 2)} points`,
    ]];
  const rows = [
    ...accuracy("top-1", top1, reference.top1, interval.top1),
    ...accuracy("top-5", top5, reference.top5, interval.top5),
    ["same answer", `${agreement.toFixed(2)} %`, "", span(interval.agreement, 2)],
    ["output error", `${(100 * mse).toFixed(3)} %`, "", span(interval.mse, 3, 100)],
    ["divergence", `${kl.toFixed(4)}`, "", span(interval.kl, 4)],
  ];
  return table([`${samples} samples`, "model", "reference", "95 % interval"], rows);
}
