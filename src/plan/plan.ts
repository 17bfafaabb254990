/**
 * The plan: which tensors become what, which nodes stay in float and why, before any work is done.
 *
 * @module
 */

import type { InputSpec } from "../onnx/inputs.ts";
import { copyModel, type Model, opsetOf } from "../onnx/model.ts";
import { checkTensors } from "../onnx/tensors.ts";
import type { ChannelMoments } from "../graph/carried_moments.ts";
import { Graph } from "../graph/graph.ts";
import { prepare } from "../graph/prepare.ts";
import { raiseOpset } from "../graph/raise_opset.ts";
import { AttuneError } from "../errors.ts";
import { formatOf } from "../formats/formats.ts";
import { OPSETS } from "../formats/opsets.ts";
import { isFree, type LayerPlan } from "../weights/layer.ts";
import { readFinite } from "../weights/matrix.ts";
import { addedTensor, operators } from "../weights/operators.ts";
import type { TablePlan } from "../weights/table.ts";
import type { Skipped, Target } from "../weights/target.ts";
import { edgeTargets, findTargets } from "../weights/targets.ts";
import { type Activations, findActivations } from "./activations.ts";
import type { Allocation } from "./allocation.ts";
import {
  matchesPattern,
  type PlanOptions,
  type ResolvedPlanOptions,
  resolvePlanOptions,
  type Width,
} from "./options.ts";
import { bitsOf, layerAtWidth, layerPlan, type UniformOptions } from "./layer.ts";
import { checkNodes, checkWhole } from "./memory.ts";
import { findTables, type SkippedTable } from "./tables.ts";
import { overrideOf, splitShared } from "./shared.ts";
import { sizeOf, tensorBytes } from "./size.ts";
import { withWeights } from "./floats.ts";

/** Operators that only a quantized model has. */
const QUANTIZED_OPS =
  /^(QuantizeLinear|DequantizeLinear|DynamicQuantize|QLinear|QAttention|QGemm|MatMulNBits|MatMulInteger|ConvInteger|GatherBlockQuantized)/;

/** A plan, and the prepared model that it speaks of. */
export interface Plan {
  /** The model after preparation: constants lifted, BatchNormalization folded, opset raised. */
  readonly model: Model;
  /**
   * An index over it.
   *
   * @internal
   */
  readonly graph: Graph;
  /** The inputs that samples must have, as the model declares them. */
  readonly inputs: readonly InputSpec[];
  /** The options that the plan was made by. */
  readonly options: ResolvedPlanOptions;
  /** The layers to quantize, in the order in which they run. */
  readonly layers: readonly LayerPlan[];
  /** The embedding tables to quantize, where the format has an operator for them. */
  readonly tables: readonly TablePlan[];
  /**
   * The layers, and all other nodes with a weight of more than 1 kB, that stay in float, with
   * reasons.
   */
  readonly skipped: readonly (Skipped | SkippedTable)[];
  /** The activations to quantize; none where activations stay in float. */
  readonly activations: Activations;
  /** What preparation changed, in words. */
  readonly prepared: readonly string[];
  /**
   * What BatchNormalization told of activations before it was folded, by tensor.
   *
   * @internal
   */
  readonly moments: ReadonlyMap<string, ChannelMoments>;
  /**
   * Bytes of all constants, in the model that was given and in the result; the file holds the graph
   * besides.
   */
  readonly size: { readonly before: number; readonly after: number };
  /**
   * How widths were found layer by layer. Where they are yet to be found (`options.bits` is a
   * rule), all free layers have the smallest.
   */
  readonly allocation?: Allocation;
}

/**
 * Prepares `model` and decides what becomes of each of its layers. Needs no data and changes
 * nothing.
 *
 * @throws {AttuneError} `bad-model` where the model is quantized already, is damaged, draws random
 * numbers or has no layer to quantize; `bad-option` where an option is not allowed or an override
 * matches nothing; `too-large` where the statistics of a layer do not fit into the kernel's memory,
 * or what must run does not fit into a session.
 *
 * @example What becomes of each layer, before any work
 * ```ts
 * import { plan, readModel } from "../../mod.ts";
 *
 * const path = new URL("../../examples/shapes/shapes.onnx", import.meta.url).pathname;
 * const made = plan(readModel(path), { bits: 4, activationBits: "none", format: "packed" });
 * for (const { target, bits, bytesAfter } of made.layers) {
 *   if (bits < 4 || bytesAfter === 0) throw new Error(`unexpected: ${target.name}`);
 * }
 * if (made.size.after * 5 > made.size.before) throw new Error("not small");
 * ```
 */
export function makePlan(model: Model, options: PlanOptions = {}): Plan {
  const resolved = resolvePlanOptions(options);
  refuseQuantized(model);
  checkTensors(model);
  const prepared = copyModel(model);
  const { changes: done, moments } = prepare(prepared);
  const changes = [...done, ...splitShared(prepared, resolved)];

  const widths = widthsOf(resolved), [bits] = widths, before = new Graph(prepared);
  const opset = widths.flatMap((bits) => planLayers(before, { ...resolved, bits }).layers)
    .map((layer) => formatOf(layer.storage.format).opset(layer, resolved))
    .reduce((most, needed) => Math.max(most, needed), OPSETS.channels);
  if (opsetOf(prepared) < opset) {
    changes.push(`opset raised from ${opsetOf(prepared)} to ${opset}`);
    changes.push(...raiseOpset(prepared, opset));
  }
  const graph = new Graph(prepared);
  checkNodes(graph);
  if (typeof resolved.bits === "object") checkWhole(graph, "choose widths for the layers of");
  const { layers, skipped } = planLayers(graph, { ...resolved, bits });
  if (layers.length === 0) {
    throw new AttuneError(
      "bad-model",
      `Cannot quantize ${model.name}: it has no ${listed(Object.keys(operators))} with a ` +
        `constant float32 weight left to quantize`,
    );
  }
  for (const { target } of layers) readFinite(graph, target);
  const tableFormat = formatOf(resolved.format).tables;
  const embeddings = tableFormat
    ? findTables(graph, bitsOf(bits), tableFormat)
    : { tables: [], skipped: [] };
  const replaced = layers.flatMap(({ target }) => [target.weight, addedTensor(target) ?? ""]);
  return {
    model: prepared,
    graph,
    inputs: graph.inputs,
    options: resolved,
    layers,
    tables: embeddings.tables,
    skipped: withWeights(
      graph,
      [...skipped, ...embeddings.skipped],
      new Set([...replaced, ...embeddings.tables.map(({ weight }) => weight)]),
    ),
    activations: activationsOf(graph, resolved, layers),
    prepared: changes,
    moments,
    size: { before: tensorBytes(model), after: sizeOf(graph, resolved, layers, embeddings.tables) },
  };
}

/** The widths that free layers may get: one, or those of a rule from the least on. */
function widthsOf({ bits }: ResolvedPlanOptions): readonly Width[] {
  return typeof bits === "object" ? bits.widths : [bits];
}

/** What becomes of each layer of `graph`, and which stay in float. */
function planLayers(
  graph: Graph,
  options: UniformOptions,
): { layers: LayerPlan[]; skipped: Skipped[] } {
  const { targets, skipped } = findTargets(graph);
  checkOverrides(options, targets, graph.model.name);
  // A weight that layers share has one width: where one of them is an edge, all are.
  const edges = new Set([...edgeTargets(graph, targets)].map(({ weight }) => weight));
  const layers: LayerPlan[] = [];
  for (const target of targets) {
    const override = overrideOf(options, target)?.bits;
    if (override === "skip") {
      skipped.push({ name: target.name, op: target.op, reason: "override" });
    } else layers.push(layerPlan(options, target, override, edges.has(target.weight)));
  }
  return { layers, skipped };
}

/** The activations of `layers` that get grids. */
function activationsOf(
  graph: Graph,
  { activationBits }: ResolvedPlanOptions,
  layers: readonly LayerPlan[],
): Activations {
  if (activationBits === "none") return { ranged: [], shared: new Map(), bits: new Map() };
  const read = layers.filter(({ storage }) => !formatOf(storage.format).floatInput)
    .map((layer) => layer.target);
  const ends = new Set([...edgeTargets(graph, findTargets(graph).targets)].map(({ node }) => node));
  const edges = new Set(read.filter(({ node }) => ends.has(node)));
  return findActivations(graph, read, activationBits, edges);
}

/** `plan` with the widths that `allocation` found. */
export function withAllocation(plan: Plan, allocation: Allocation): Plan {
  const { graph, options, tables } = plan;
  const layers = plan.layers.map((layer, i) =>
    isFree(layer) ? layerAtWidth(plan, layer, allocation.layers[i].bits) : layer
  );
  const activations = activationsOf(graph, options, layers);
  const size = { ...plan.size, after: sizeOf(graph, options, layers, tables) };
  return { ...plan, layers, allocation, activations, size };
}

function refuseQuantized(model: Model): void {
  const node = model.proto.graph.node.find((n) => QUANTIZED_OPS.test(n.opType));
  // A packed file may have no such operator, but every file of attune says what made it.
  const version = model.proto.metadataProps.find(({ key }) => key === "attune.version")?.value;
  if (node === undefined && version === undefined) return;
  const why = node ? `node "${node.name}" is a ${node.opType}` : `attune ${version} made it`;
  throw new AttuneError(
    "bad-model",
    `Cannot quantize ${model.name}: it is quantized already (${why}); give the float32 model ` +
      `that it was made from`,
  );
}

function checkOverrides(options: ResolvedPlanOptions, targets: Target[], name: string): void {
  for (const { pattern } of options.overrides) {
    if (
      !targets.some((t) => matchesPattern(pattern, t.name) || matchesPattern(pattern, t.weight))
    ) {
      throw new AttuneError(
        "bad-option",
        `Cannot use the override of "${pattern}": no layer of ${name} has that name; ` +
          `inspect lists the names`,
      );
    }
  }
}

/** `names` in a sentence: "a, b or c". */
function listed(names: readonly string[]): string {
  return [names.slice(0, -1).join(", "), ...names.slice(-1)].filter(Boolean).join(" or ");
}
