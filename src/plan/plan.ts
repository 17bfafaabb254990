/**
 * The plan: which tensors become what, which nodes stay in float and why, before any work is done.
 *
 * @module
 */

import { copyModel, type Model, opsetOf } from "../onnx/model.ts";
import { isExternal } from "../onnx/tensor.ts";
import { Graph } from "../graph/graph.ts";
import { liftConstants } from "../graph/constants.ts";
import { foldBatchNorm } from "../graph/fold_batch_norm.ts";
import { raiseOpset } from "../graph/raise_opset.ts";
import { AttuneError } from "../errors.ts";
import { type Activations, findActivations } from "./activations.ts";
import type { Budget, Strategy } from "./bits.ts";
import {
  type Granularity,
  matchesPattern,
  type PlanOptions,
  type ResolvedPlanOptions,
  resolvePlanOptions,
} from "./options.ts";
import { type LevelWindows, levelWindows } from "./levels.ts";
import { type GramPlan, gramPlan } from "./memory.ts";
import { edgeTargets, findTargets, type Skipped, type Target } from "./targets.ts";

/** The first opset with per-channel QuantizeLinear, and the first with 4-bit integers and blocks. */
const OPSET_CHANNEL = 13, OPSET_INT4 = 21;
/** Operators that only a quantized model has. */
const QUANTIZED_OPS =
  /^(QuantizeLinear|DequantizeLinear|DynamicQuantize|QLinear|QAttention|QGemm|MatMulNBits|MatMulInteger|ConvInteger|GatherBlockQuantized)/;

/** What becomes of one layer's weight. */
export interface LayerPlan {
  /** The layer. */
  readonly target: Target;
  /** Bits of a level. */
  readonly bits: number;
  /** The levels that a row may have. */
  readonly windows: LevelWindows;
  /** Bits that the file keeps per level: 4 or 8. */
  readonly storedBits: 4 | 8;
  /** How many weights share a scale. */
  readonly granularity: Granularity;
  /** Scales per row of the matrix: 1, or one per block of `blockSize` inputs. */
  readonly blocksPerRow: number;
  /** Inputs (times kernel positions) that share a scale. */
  readonly blockSize: number;
  /** The second moments that are kept of its inputs. */
  readonly gram: GramPlan;
  /** Bytes of the weight in the model, and in the result with its scales. */
  readonly bytesBefore: number;
  /** Bytes of levels and scales in the result. */
  readonly bytesAfter: number;
  /** Why the width is not the one asked for, where it is not: then it is not for a budget to choose. */
  readonly note?: "first or last layer" | "override";
}

/** A plan, and the prepared model that it speaks of. */
export interface Plan {
  /** The model after preparation: constants lifted, BatchNormalization folded, opset raised. */
  readonly model: Model;
  /** An index over it. */
  readonly graph: Graph;
  /** The options that the plan was made by. */
  readonly options: ResolvedPlanOptions;
  /** The layers to quantize, in the order in which they run. */
  readonly layers: readonly LayerPlan[];
  /** The layers that stay in float, with reasons. */
  readonly skipped: readonly Skipped[];
  /** The activations to quantize; none where activations stay in float. */
  readonly activations: Activations;
  /** What preparation changed, in words. */
  readonly prepared: readonly string[];
  /** Bytes of all initializers, before and after. */
  readonly size: { readonly before: number; readonly after: number };
  /**
   * How widths were found layer by layer. Where they are yet to be found (`options.bits` is a rule), all
   * free layers have the smallest.
   */
  readonly allocation?: Allocation;
}

/** How the widths of a plan were found, and what each layer pays. */
export interface Allocation {
  /** What decided: a strategy, clusters, or nothing where all free layers have one width. */
  readonly strategy: Strategy | "clusters" | "uniform";
  /** What was to be met; only a strategy has one. */
  readonly budget?: Budget;
  /** What it went by: the weights alone, or the outputs of layers on samples. */
  readonly basis: "weights" | "outputs";
  /** Bits of a weight on average over the layers whose width was free. */
  readonly averageBits: number;
  /** Bytes of the written file, as predicted. */
  readonly bytes: number;
  /** Squared error of the model's outputs relative to their power, as predicted; needs samples. */
  readonly loss?: number;
  /** Every layer of the plan, in its order. */
  readonly layers: readonly LayerShare[];
}

/** What a layer got, and what it pays for that. */
export interface LayerShare {
  /** The layer's name. */
  readonly name: string;
  /** Its width. */
  readonly bits: number;
  /** Whether the width was for the strategy to choose. */
  readonly free: boolean;
  /** Its coding length, in bits per weight, at the distortion of the whole model. */
  readonly codingLength: number;
  /** Its squared output error relative to its output's power, as predicted; needs samples. */
  readonly error?: number;
  /** What that error adds to the loss of the model, as predicted; needs samples. */
  readonly loss?: number;
}

/**
 * Prepares `model` and decides what becomes of each of its layers. Needs no data and changes nothing.
 *
 * @throws {AttuneError} `bad-model` where the model is quantized already or has no layer to quantize;
 * `bad-option` where an option is not allowed or an override matches nothing; `too-large` where the
 * statistics of a layer do not fit into the kernel's memory.
 */
export function plan(model: Model, options: PlanOptions = {}): Plan {
  const resolved = resolvePlanOptions(options);
  refuseQuantized(model);
  const prepared = copyModel(model);
  const changes: string[] = [];
  const lifted = liftConstants(prepared);
  if (lifted > 0) changes.push(`${lifted} Constant nodes turned into initializers`);
  const folded = foldBatchNorm(prepared);
  if (folded.length > 0) changes.push(`${folded.length} BatchNormalization nodes folded`);

  const found = findTargets(new Graph(prepared));
  checkOverrides(resolved, found.targets, model.name);
  const base = { ...resolved, bits: leastBits(resolved) };
  const opset = neededOpset(base, found.targets);
  if (opsetOf(prepared) < opset) {
    changes.push(`opset raised from ${opsetOf(prepared)} to ${opset}`);
    changes.push(...raiseOpset(prepared, opset));
  }
  const graph = new Graph(prepared);
  const { targets, skipped } = findTargets(graph);
  const edges = edgeTargets(graph, targets);
  const layers: LayerPlan[] = [];
  for (const target of targets) {
    const override = overrideOf(resolved, target);
    if (override === "skip") {
      skipped.push({ name: target.name, op: target.op, reason: "override" });
      continue;
    }
    layers.push(layerPlan(base, target, override, edges.has(target)));
  }
  if (layers.length === 0) {
    throw new AttuneError(
      "bad-model",
      `Cannot quantize ${model.name}: it has no Conv, ConvTranspose, Gemm or MatMul with a ` +
        `constant float32 weight left to quantize`,
    );
  }
  return {
    model: prepared,
    graph,
    options: resolved,
    layers,
    skipped,
    activations: resolved.activationBits === "none"
      ? { own: [], shared: new Map(), bits: new Map() }
      : findActivations(
        graph,
        layers.map((layer) => layer.target),
        resolved.activationBits,
        edges,
      ),
    prepared: changes,
    size: sizeOf(graph, layers, resolved),
  };
}

/** The bits of every layer that is not told otherwise; of those that are yet to be found, the least. */
function leastBits({ bits }: ResolvedPlanOptions): number {
  return typeof bits === "object" ? bits.widths[0] : bits;
}

/** Bytes of all initializers, before and after. */
function sizeOf(
  graph: Graph,
  layers: readonly LayerPlan[],
  { format }: ResolvedPlanOptions,
): Plan["size"] {
  const before = graph.proto.initializer.reduce(
    (sum, t) => sum + (isExternal(t) ? 0 : t.rawData.length + 4 * t.floatData.length),
    0,
  );
  const weights = new Map(layers.map((layer) => [layer.target.weight, layer]));
  const saved = [...weights.values()].reduce((sum, l) => sum + l.bytesBefore - l.bytesAfter, 0);
  return { before, after: before - (format === "float" ? 0 : saved) };
}

/** Whether the width of `layer` is for a budget to choose. */
export function isFree({ note }: LayerPlan): boolean {
  return note === undefined;
}

/** A free layer of `plan` with another width: all that depends on it, such as its bytes, is anew. */
export function layerAtWidth(plan: Plan, layer: LayerPlan, bits: number): LayerPlan {
  return layerPlan({ ...plan.options, bits }, layer.target, undefined, false);
}

/** `plan` with the widths that `allocation` found. */
export function withAllocation(plan: Plan, allocation: Allocation): Plan {
  const layers = plan.layers.map((layer, i) =>
    isFree(layer) ? layerAtWidth(plan, layer, allocation.layers[i].bits) : layer
  );
  return { ...plan, layers, allocation, size: sizeOf(plan.graph, layers, plan.options) };
}

function refuseQuantized(model: Model): void {
  const node = model.proto.graph.node.find((n) => QUANTIZED_OPS.test(n.opType));
  if (node === undefined) return;
  throw new AttuneError(
    "bad-model",
    `Cannot quantize ${model.name}: it is quantized already (node "${node.name}" is a ` +
      `${node.opType}); give the float32 model that it was made from`,
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

/** The last override that matches `target`. */
function overrideOf(options: ResolvedPlanOptions, target: Target): number | "skip" | undefined {
  return options.overrides.findLast(({ pattern }) =>
    matchesPattern(pattern, target.name) || matchesPattern(pattern, target.weight)
  )?.bits;
}

/** Options with one width. */
type UniformOptions = ResolvedPlanOptions & { readonly bits: number };

function neededOpset(options: UniformOptions, targets: Target[]): number {
  const widths = targets.map((target) => overrideOf(options, target) ?? options.bits);
  const fine = widths.some((bits) => bits !== "skip" && bits <= 4) || options.edgeBits <= 4 ||
    options.granularity.kind === "block" || options.activationBits === 4;
  return options.format === "qdq" && fine ? OPSET_INT4 : OPSET_CHANNEL;
}

function layerPlan(
  options: UniformOptions,
  target: Target,
  override: number | undefined,
  edge: boolean,
): LayerPlan {
  const bits = override ?? (edge ? Math.max(options.bits, options.edgeBits) : options.bits);
  const storedBits = bits <= 4 ? 4 : 8;
  const weights = target.groups * target.rows * target.depth;
  // A ConvTranspose with groups has no axis that counts its output channels.
  const granularity: Granularity =
    target.op === "ConvTranspose" && target.groups > 1 && target.axis === 1
      ? { kind: "tensor" }
      : options.granularity;
  const blockSize = granularity.kind === "block"
    ? Math.min(granularity.size, target.depth)
    : target.depth;
  const blocksPerRow = Math.ceil(target.depth / blockSize);
  const scales = granularity.kind === "tensor" ? 1 : target.groups * target.rows * blocksPerRow;
  return {
    target,
    bits,
    windows: levelWindows(bits, options.symmetric),
    storedBits,
    granularity,
    blocksPerRow,
    blockSize,
    gram: gramPlan(target, granularity),
    bytesBefore: 4 * weights,
    bytesAfter: Math.ceil(weights * storedBits / 8) + 4 * scales,
    note: override !== undefined
      ? "override"
      : bits !== options.bits
      ? "first or last layer"
      : undefined,
  };
}
