/**
 * Cuts a model into blocks: parts whose weights are learned together, since what one layer does
 * wrong another can make up for.
 *
 * Where only one tensor crosses from the nodes before to the nodes after, the model can be cut
 * *cleanly*: around a residual addition, a transformer layer, the branches of an inception. What
 * lies between two clean cuts stays together; runs of single layers are joined, up to three of
 * them, such that the tensors between blocks are small: the convolutions of an inverted residual
 * without its shortcut, for example.
 *
 * @module
 */

import type { TensorInfo } from "../forward/batches.ts";
import { findSteps } from "../calibrate/segments.ts";
import { frontier } from "../graph/extract.ts";
import type { Graph } from "../graph/graph.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";

/** A part of a model: nodes start … end − 1 of its graph, in their order. */
export interface Block {
  /** Index of the first node. */
  readonly start: number;
  /** Index after the last node. */
  readonly end: number;
  /** Its layers, step by step; those of a step do not depend on one another. */
  readonly steps: readonly (readonly LayerPlan[])[];
  /** The tensors that it reads from what lies before. */
  readonly inputs: readonly string[];
  /** The tensors that it computes for what lies after, or for the caller. */
  readonly outputs: readonly string[];
}

/** Layers of a block that could be cut cleanly inside, at most. */
const MOST_LAYERS = 3;
/** Layers of any block, at most. */
const MOST_LAYERS_UNCUT = 12;
/** How much dearer a cut is for each further tensor that crosses it. */
const CROSSING_PRICE = 100;

/**
 * Bytes that the tensors of a block may take while it is learned, in each worker: of 4 GiB in a
 * browser.
 */
const MOST_BYTES = 2 ** 30;
/**
 * Times that a block's tensors are there while it is learned: themselves, gradients, grids, taps.
 */
const COPIES = 4;

/** What is known of a model's tensors. */
export interface CutOptions {
  /**
   * Sizes of the tensors: between two places that are alike otherwise the smaller tensor decides.
   * Default: not known.
   */
  readonly shapes?: ReadonlyMap<string, TensorInfo>;
  /** How many times as large tensors are while blocks are learned. Default: 1. */
  readonly samples?: number;
  /** Bytes that a block's tensors may take then. Default: 1 GiB. */
  readonly memory?: number;
}

/** A place between two steps. */
interface Place {
  /** Index of the node after it. */
  readonly at: number;
  /** Names of the tensors that cross. */
  readonly crossing: readonly string[];
  /** What a cut here costs. */
  readonly price: number;
}

/** The blocks of `plan`, in their order; together they hold all of its nodes. */
export function cutBlocks(plan: Plan, options: CutOptions = {}): Block[] {
  const { shapes, samples = 1, memory = MOST_BYTES } = options;
  const { graph } = plan;
  const steps = findSteps(plan);
  const places = placesBetween(graph, steps, shapes);
  const counts = steps.map((step) => step.length);
  const tooLarge = (start: number, end: number) =>
    shapes !== undefined && samples * learnedBytes(plan, shapes, { start, end }) > memory;

  // least[j]: the lowest price of cutting steps 0 … j − 1; from[j]: where their last block begins.
  const least = [0, ...steps.map(() => Infinity)], from = [0, ...steps.map(() => 0)];
  for (let j = 1; j <= steps.length; j++) {
    if (places[j] === undefined) continue;
    let layers = 0, clean = false;
    for (let i = j - 1; i >= 0; i--) {
      layers += counts[i];
      // A block that is one step cannot be smaller.
      if (i < j - 1 && layers > (clean ? MOST_LAYERS : MOST_LAYERS_UNCUT)) break;
      const place = places[i];
      if (place === undefined) continue;
      if (i < j - 1 && tooLarge(place.at, places[j]!.at)) break;
      const price = least[i] + places[j]!.price;
      if (price < least[j]) [least[j], from[j]] = [price, i];
      clean ||= place.crossing.length === 1;
    }
    // Where no cut is possible within reach, the block is as long as it takes.
    for (let i = j - 1; i >= 0 && least[j] === Infinity; i--) {
      if (places[i] !== undefined) [least[j], from[j]] = [least[i] + places[j]!.price, i];
    }
  }
  const blocks: Block[] = [];
  for (let j = steps.length; j > 0; j = from[j]) {
    const start = places[from[j]]!, end = places[j]!;
    const before = new Set(start.crossing);
    blocks.unshift({
      start: start.at,
      end: end.at,
      steps: steps.slice(from[j], j),
      inputs: start.crossing,
      outputs: end.crossing.filter((name) => !before.has(name)),
    });
  }
  return blocks;
}

/**
 * Bytes of the tensors between two nodes while a block of them is learned, for the batch of
 * `shapes`.
 */
function learnedBytes(
  { graph }: Plan,
  shapes: ReadonlyMap<string, TensorInfo>,
  { start, end }: Pick<Block, "start" | "end">,
): number {
  const names = graph.nodes.slice(start, end).flatMap(({ output }) => output);
  return COPIES * names.reduce((sum, name) => sum + (shapes.get(name)?.bytes ?? 0), 0);
}

/**
 * How many times the batch of `shapes` fits into memory while the largest part of `plan` that
 * cannot be split is learned; 1 at least.
 */
export function batchesThatFit(
  plan: Plan,
  shapes: ReadonlyMap<string, TensorInfo>,
  memory: number = MOST_BYTES,
): number {
  const parts = cutBlocks(plan, { shapes, memory: 0 });
  const largest = Math.max(...parts.map((part) => learnedBytes(plan, shapes, part)));
  return Math.max(1, Math.floor(memory / largest));
}

/** The cheapest place before each step, and after the last; undefined where steps interleave. */
function placesBetween(
  graph: Graph,
  steps: readonly (readonly LayerPlan[])[],
  shapes?: ReadonlyMap<string, TensorInfo>,
): (Place | undefined)[] {
  const position = new Map(graph.nodes.map((node, i) => [node, i]));
  const indices = steps.map((step) => step.map((layer) => position.get(layer.target.node)!));
  const bytes = (name: string) => shapes?.get(name)?.bytes ?? 1;
  const place = (at: number, crossing: readonly string[]): Place => {
    const size = crossing.reduce((sum, name) => sum + bytes(name), 0);
    return { at, crossing, price: size * CROSSING_PRICE ** Math.max(0, crossing.length - 1) };
  };
  const inner = steps.map((_, k) => {
    if (k === 0) return place(0, frontier(graph, 0));
    const from = Math.max(...indices.slice(0, k).flat()) + 1;
    const to = Math.min(...indices.slice(k).flat());
    let best: Place | undefined;
    for (let at = from; at <= to; at++) {
      const crossing = frontier(graph, at);
      // Sequences and the like cannot be kept between blocks.
      if (!crossing.every((name) => graph.isTensor(name))) continue;
      const here = place(at, crossing);
      // Of equals the last: activation functions and pooling go with the layer before them.
      if (best === undefined || here.price <= best.price) best = here;
    }
    return best;
  });
  return [...inner, place(graph.nodes.length, graph.outputs)];
}
