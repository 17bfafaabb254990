/**
 * The order of work. Layers that do not depend on one another are calibrated together, in one
 * *step*; consecutive steps form a *segment*. Between two segments the tensors that cross are
 * spooled, once from the float model and once from the quantized one, so that no segment is ever
 * run again from the model's inputs. Within a segment each step recomputes from the segment's
 * start.
 *
 * Short segments spool much, long ones recompute much; where to cut is found by dynamic programming
 * over the sum of both.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { sizeOf } from "../onnx/tensor.ts";
import { frontier } from "../graph/extract.ts";
import { readsOf } from "../graph/graph.ts";
import { weightBytes } from "../graph/partition.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { operatorOf } from "../weights/operators.ts";
import type { TensorInfo } from "../forward/batches.ts";

/** A run of nodes whose layers are calibrated from one set of spooled tensors. */
export interface Segment {
  /** Index of the first node. */
  readonly start: number;
  /** Index after the last node. */
  readonly end: number;
  /** Layers that are calibrated together, step by step. */
  readonly steps: readonly (readonly LayerPlan[])[];
}

/** Rough rates of onnxruntime-web on one core; only their ratios matter here. */
const MACS_PER_SECOND = 6e9, GROUPED_MACS_PER_SECOND = 1.5e9, ELEMENTS_PER_SECOND = 5e8;
/** Bytes per second through a spool, to and fro. */
const SPOOL_BYTES_PER_SECOND = 6e8;

/** Bytes of weights in a segment, unless a single step has more. */
const SEGMENT_BYTES = 2 ** 26;
/** Bytes of a step's statistics that are collected at a time, unless a single layer has more. */
const STATISTICS_BYTES = 2 ** 28;
/** Seconds that nothing takes. */
const NEVER = 1e9;

/** The layers of `plan` in steps: each step's layers read nothing that the step itself computes. */
export function findSteps(plan: Plan): LayerPlan[][] {
  const steps: LayerPlan[][] = [];
  const layerOf = new Map(plan.layers.map((layer) => [layer.target.node, layer]));
  let dependent = new Set<string>();
  for (const node of plan.graph.nodes) {
    const layer = layerOf.get(node);
    const depends = readsOf(node).some((name) => dependent.has(name));
    if (layer !== undefined) {
      if (steps.length === 0 || depends) {
        steps.push([layer]);
        dependent = new Set(node.output);
        continue;
      }
      steps[steps.length - 1].push(layer);
    }
    if (layer !== undefined || depends) { for (const name of node.output) dependent.add(name); }
  }
  return steps;
}

/**
 * Cuts the model of `plan` into segments.
 *
 * @param shapes every tensor of the float model, from a run on one batch.
 */
export function findSegments(plan: Plan, shapes: ReadonlyMap<string, TensorInfo>): Segment[] {
  const { graph } = plan;
  const steps = findSteps(plan);
  const position = new Map(graph.nodes.map((node, i) => [node, i]));
  const places = steps.map((step) => step.map((layer) => position.get(layer.target.node)!));
  const first = places.map((p) => Math.min(...p)), last = places.map((p) => Math.max(...p));
  // seconds[i]: all nodes before node i, once.
  const seconds = [0];
  for (const node of graph.nodes) seconds.push(seconds.at(-1)! + secondsOf(node, plan, shapes));
  const read = weightBytes(graph), weights = [0];
  for (const node of graph.nodes) weights.push(weights.at(-1)! + read.get(node)!);
  const bytesAt = (cut: number) =>
    frontier(graph, cut).reduce((sum, name) => sum + (shapes.get(name)?.bytes ?? 0), 0);

  // cuts[k]: the cheapest place before step k; a later step may lie before an earlier one's end.
  const cuts = steps.map((_, k) => {
    if (k === 0) return { at: 0, bytes: bytesAt(0) };
    const from = Math.max(...last.slice(0, k)) + 1, to = Math.min(...first.slice(k));
    let best: { at: number; bytes: number } | undefined;
    for (let at = from; at <= to; at++) {
      if (!frontier(graph, at).every((name) => graph.isTensor(name))) continue;
      const bytes = bytesAt(at);
      if (best === undefined || bytes <= best.bytes) best = { at, bytes };
    }
    return best;
  });
  const end = { at: graph.nodes.length, bytes: 0 };

  // least[k]: seconds to handle steps 0…k−1; from[k]: first step of the segment that ends there.
  const least = [0, ...steps.map(() => Infinity)], from = steps.map(() => 0);
  for (let j = 1; j <= steps.length; j++) {
    const stop = j === steps.length ? end : cuts[j];
    if (stop === undefined) continue;
    for (let i = j - 1; i >= 0; i--) {
      const start = cuts[i];
      if (start === undefined || least[i] === Infinity) continue;
      let cost = least[i];
      for (let k = i; k < j; k++) cost += 2 * (seconds[last[k] + 1] - seconds[start.at]);
      if (j < steps.length) cost += 2 * (seconds[stop.at] - seconds[start.at]);
      cost += 2 * (start.bytes * (j - i + 1) + stop.bytes) / SPOOL_BYTES_PER_SECOND;
      // Where there is any other way, no segment is more than two sessions side by side can hold.
      if (j - i > 1 && weights[stop.at] - weights[start.at] > SEGMENT_BYTES) cost += NEVER;
      if (cost < least[j]) [least[j], from[j - 1]] = [cost, i];
    }
  }
  const segments: Segment[] = [];
  for (let j = steps.length; j > 0; j = from[j - 1]) {
    const i = from[j - 1];
    segments.unshift({
      start: cuts[i]!.at,
      end: j === steps.length ? end.at : cuts[j]!.at,
      steps: steps.slice(i, j),
    });
  }
  return segments;
}

/** The layers of a step in portions whose statistics are held together. */
export function portionsOf(step: readonly LayerPlan[]): LayerPlan[][] {
  const portions: LayerPlan[][] = [];
  let bytes = Infinity;
  for (const layer of step) {
    const { target: { groups, rows, depth }, gram } = layer;
    const layerBytes = 4 * groups * depth * (gram.kind === "full" ? depth + rows : gram.size);
    if (bytes + layerBytes > STATISTICS_BYTES) [portions[portions.length], bytes] = [[], 0];
    portions[portions.length - 1].push(layer);
    bytes += layerBytes;
  }
  return portions;
}

/** A rough cost of one node on the batch of `shapes`, in seconds. */
export function secondsOf(
  node: NodeProto,
  plan: Plan,
  shapes: ReadonlyMap<string, TensorInfo>,
): number {
  const elements = (name: string) => sizeOf(shapes.get(name)?.dims ?? [0]);
  const output = node.output.reduce((sum, name) => sum + elements(name), 0);
  const target = plan.layers.find((layer) => layer.target.node === node)?.target;
  if (target === undefined) return output / ELEMENTS_PER_SECOND;
  const macs = operatorOf(target).macs(target, { input: elements(target.input), output });
  return macs / (target.groups > 1 ? GROUPED_MACS_PER_SECOND : MACS_PER_SECOND);
}
