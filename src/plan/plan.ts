/**
 * The plan: which tensors become what, which nodes stay in float and why, before any work is done.
 *
 * @module
 */

import { copyModel, type Model, opsetOf } from "../onnx/model.ts";
import { checkTensors } from "../onnx/tensors.ts";
import { Graph } from "../graph/graph.ts";
import { prepare } from "../graph/prepare.ts";
import { raiseOpset } from "../graph/raise_opset.ts";
import { AttuneError } from "../errors.ts";
import { type Activations, findActivations } from "./activations.ts";
import type { Allocation } from "./allocation.ts";
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
import { checkNodes, checkWhole, type GramPlan, gramPlan } from "./memory.ts";
import { type Storage, storageOf, storedBits, storedBytes } from "./storage.ts";
import { findTables, type SkippedTable, type TablePlan } from "./tables.ts";
import { overrideOf, splitShared } from "./shared.ts";
import { sizeOf, tensorBytes } from "./size.ts";
import { withWeights } from "./floats.ts";
import { edgeTargets, findTargets, readFinite, type Skipped, type Target } from "./targets.ts";

/** The first opsets with per-channel QuantizeLinear, BitwiseOr, 4-bit integers and blocks, and int2. */
const OPSET_CHANNEL = 13, OPSET_BITWISE = 18, OPSET_INT4 = 21, OPSET_INT2 = 25;
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
  /** How the file keeps it. */
  readonly storage: Storage;
  /** Bits that the file keeps per level. */
  readonly storedBits: number;
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
  /** The embedding tables to quantize, where the format has an operator for them. */
  readonly tables: readonly TablePlan[];
  /** The layers, and all other nodes with a weight of more than 1 kB, that stay in float, with reasons. */
  readonly skipped: readonly (Skipped | SkippedTable)[];
  /** The activations to quantize; none where activations stay in float. */
  readonly activations: Activations;
  /** What preparation changed, in words. */
  readonly prepared: readonly string[];
  /**
   * Bytes of all constants, in the model that was given and in the result; the file holds the graph
   * besides.
   */
  readonly size: { readonly before: number; readonly after: number };
  /**
   * How widths were found layer by layer. Where they are yet to be found (`options.bits` is a rule), all
   * free layers have the smallest.
   */
  readonly allocation?: Allocation;
}

/**
 * Prepares `model` and decides what becomes of each of its layers. Needs no data and changes nothing.
 *
 * @throws {AttuneError} `bad-model` where the model is quantized already, is damaged, draws random
 * numbers or has no layer to quantize;
 * `bad-option` where an option is not allowed or an override matches nothing; `too-large` where the
 * statistics of a layer do not fit into the kernel's memory, or what must run does not fit into a session.
 */
export function plan(model: Model, options: PlanOptions = {}): Plan {
  const resolved = resolvePlanOptions(options);
  refuseQuantized(model);
  checkTensors(model);
  const prepared = copyModel(model);
  const changes = [...prepare(prepared), ...splitShared(prepared, resolved)];

  const widths = widthsOf(resolved), [bits] = widths, before = new Graph(prepared);
  const opset = widths.flatMap((bits) => planLayers(before, { ...resolved, bits }).layers)
    .reduce((most, layer) => Math.max(most, neededOpset(resolved, layer)), OPSET_CHANNEL);
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
      `Cannot quantize ${model.name}: it has no Conv, ConvTranspose, Gemm or MatMul with a ` +
        `constant float32 weight left to quantize`,
    );
  }
  for (const { target } of layers) readFinite(graph, target);
  const found = resolved.format === "matmulnbits"
    ? findTables(graph, bitsOf(bits))
    : { tables: [], skipped: [] };
  const replaced = layers.flatMap(({ target: { weight, node } }) => [weight, node.input[2]]);
  const kept = [...skipped, ...found.skipped];
  return {
    model: prepared,
    graph,
    options: resolved,
    layers,
    tables: found.tables,
    skipped: withWeights(
      graph,
      kept,
      new Set([...replaced, ...found.tables.map(({ weight }) => weight)]),
    ),
    activations: activationsOf(graph, resolved, layers),
    prepared: changes,
    size: { before: tensorBytes(model), after: sizeOf(graph, resolved, layers, found.tables) },
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
  if (activationBits === "none") return { own: [], shared: new Map(), bits: new Map() };
  // A product that onnxruntime's own operator computes takes its input in float.
  const read = layers.filter(({ storage }) => storage.kind !== "matmulnbits")
    .map((layer) => layer.target);
  const ends = new Set([...edgeTargets(graph, findTargets(graph).targets)].map(({ node }) => node));
  const edges = new Set(read.filter(({ node }) => ends.has(node)));
  return findActivations(graph, read, activationBits, edges);
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
  const made = model.proto.metadataProps.find(({ key }) => key === "attune.version");
  if (node === undefined && made === undefined) return;
  const why = node ? `node "${node.name}" is a ${node.opType}` : `attune ${made!.value} made it`;
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

/** The opset of the operators that `layer` needs in the file. */
function neededOpset(
  { format, activationBits }: ResolvedPlanOptions,
  { grid, storage, blocksPerRow }: LayerPlan,
): number {
  if (format === "float") return OPSET_CHANNEL;
  const integers = storage.kind === "integer" ? storage.bits : 8;
  if (integers === 2) return OPSET_INT2;
  const asIntegers = storage.kind === "integer" || activationBits !== "none";
  // What is cut from nested levels has 4-bit integers, or is packed.
  const fine = integers === 4 || grid.kind === "nested";
  if (fine || (blocksPerRow > 1 && asIntegers)) return OPSET_INT4;
  return storage.kind === "packed" ? OPSET_BITWISE : OPSET_CHANNEL;
}

/** Options with one width. */
type UniformOptions = ResolvedPlanOptions & { readonly bits: Width };

/** The bits that levels of a width take. */
function bitsOf(width: Width): number {
  return width === "ternary" ? 2 : width;
}

/** The width and the levels of a layer, and why they are not those asked for. */
function gridOf(
  { bits, edgeBits, nested, grid: spacing }: UniformOptions,
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
  options: UniformOptions,
  target: Target,
  override: Width | undefined,
  edge: boolean,
): LayerPlan {
  const { bits, grid, note } = gridOf(options, override, edge);
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
  const storage = storageOf(options, target, { bits, grid }, granularity);
  const matrix = { rows: target.groups * target.rows, depth: target.depth };
  return {
    target,
    bits,
    grid,
    windows: windowsOf(grid, bits, options.symmetric),
    storage,
    storedBits: storedBits(storage),
    granularity,
    blocksPerRow,
    blockSize,
    gram: gramPlan(target, granularity, grid.kind === "nested" ? grid.widths.length : 1),
    bytesBefore: 4 * weights,
    bytesAfter: storedBytes({ ...matrix, storage }) + 4 * scales + biasBytes(options, target),
    note,
  };
}
