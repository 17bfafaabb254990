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
import { type Grid, windowsOf } from "./grid.ts";
import {
  type Granularity,
  matchesPattern,
  type PlanOptions,
  type ResolvedPlanOptions,
  resolvePlanOptions,
  type Width,
} from "./options.ts";
import type { LevelWindows } from "./levels.ts";
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
  /** Bits of a level; 2 where it is ternary. */
  readonly bits: number;
  /** Which levels there are. */
  readonly grid: Grid;
  /** The levels that a row may have; of a piecewise grid, before its tails are spread out. */
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
  /** Why the width is not the one asked for, where it is not. */
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
  const opset = neededOpset(resolved, found.targets);
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
    layers.push(layerPlan(resolved, target, override, edges.has(target)));
  }
  if (layers.length === 0) {
    throw new AttuneError(
      "bad-model",
      `Cannot quantize ${model.name}: it has no Conv, ConvTranspose, Gemm or MatMul with a ` +
        `constant float32 weight left to quantize`,
    );
  }
  const before = graph.proto.initializer.reduce(
    (sum, t) => sum + (isExternal(t) ? 0 : t.rawData.length + 4 * t.floatData.length),
    0,
  );
  const weights = new Map(layers.map((layer) => [layer.target.weight, layer]));
  const saved = [...weights.values()].reduce((sum, l) => sum + l.bytesBefore - l.bytesAfter, 0);
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
    size: { before, after: before - (resolved.format === "float" ? 0 : saved) },
  };
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
function overrideOf(options: ResolvedPlanOptions, target: Target): Width | "skip" | undefined {
  return options.overrides.findLast(({ pattern }) =>
    matchesPattern(pattern, target.name) || matchesPattern(pattern, target.weight)
  )?.bits;
}

function neededOpset(options: ResolvedPlanOptions, targets: Target[]): number {
  const widths = targets.map((target) => overrideOf(options, target) ?? options.bits);
  const all = [...widths, ...options.nested ?? [], options.edgeBits];
  const fine = all.some((width) => width !== "skip" && bitsOf(width) <= 4) ||
    options.granularity.kind === "block" || options.activationBits === 4;
  return options.format === "qdq" && fine ? OPSET_INT4 : OPSET_CHANNEL;
}

/** The bits that levels of a width take. */
function bitsOf(width: Width): number {
  return width === "ternary" ? 2 : width;
}

/** The width and the levels of a layer, and why they are not those asked for. */
function gridOf(
  { bits, edgeBits, nested, grid: spacing }: ResolvedPlanOptions,
  override: Width | undefined,
  edge: boolean,
): Pick<LayerPlan, "bits" | "grid" | "note"> {
  const raised = edge && bitsOf(bits) < edgeBits;
  const width = override ?? (raised ? edgeBits : bits);
  const note = override !== undefined ? "override" : raised ? "first or last layer" : undefined;
  if (width === "ternary") return { bits: 2, grid: { kind: "ternary" }, note };
  if (nested === undefined || override !== undefined) {
    // Levels are bytes at most, and 8 bits need all of them.
    return { bits: width, grid: { kind: width < 8 ? spacing : "uniform" }, note };
  }
  // An edge layer is not cut below the width that edges have.
  const widths = [width, ...nested.slice(1).filter((narrow) => !edge || narrow >= edgeBits)];
  const grid = widths.length === 1
    ? { kind: "uniform" } as const
    : { kind: "nested", widths } as const;
  return { bits: width, grid, note: widths.length < nested.length ? "first or last layer" : note };
}

/** Bytes of the biases of narrower widths, where grids are nested: float32 in base64. */
function biasBytes({ nested = [] }: ResolvedPlanOptions, { op, groups, rows }: Target): number {
  return op === "MatMul" ? 0 : Math.ceil(16 / 3 * groups * rows) * Math.max(0, nested.length - 1);
}

function layerPlan(
  options: ResolvedPlanOptions,
  target: Target,
  override: Width | undefined,
  edge: boolean,
): LayerPlan {
  const { bits, grid, note } = gridOf(options, override, edge);
  // Tails reach beyond the integers of the width.
  const storedBits = bits <= 4 && grid.kind !== "piecewise" ? 4 : 8;
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
    grid,
    windows: windowsOf(grid, bits, options.symmetric),
    storedBits,
    granularity,
    blocksPerRow,
    blockSize,
    gram: gramPlan(target, granularity, grid.kind === "nested" ? grid.widths.length : 1),
    bytesBefore: 4 * weights,
    bytesAfter: Math.ceil(weights * storedBits / 8) + 4 * scales + biasBytes(options, target),
    note,
  };
}
