/**
 * What fits into the kernel's memory: how much of a layer's Gram matrix is kept, and in how many
 * shares its rows are rounded. Known before any work starts.
 *
 * @module
 */

import type { GramPlan } from "../weights/layer.ts";
import { AttuneError } from "../errors.ts";
import { type Graph, nodeName } from "../graph/graph.ts";
import { weightBytes } from "../graph/partition.ts";
import { storedLength } from "../onnx/tensor.ts";
import type { Granularity } from "../weights/granularity.ts";
import type { Target } from "../weights/target.ts";

/**
 * Bytes of a kernel's memory (4 GiB at most) that Gram matrices may take; columns need the rest.
 */
const GRAM_BYTES = 3 * 2 ** 30;
/** Bytes that the rows of a share may take. */
const ROW_BYTES = 2 ** 29;
/** Inputs of a block, at most: larger ones cost much time and gain little. */
const MOST_INPUTS = 2048;
/** Copies of H at a time: itself, damped, its factor, and one more for the float-target shift. */
const GRAM_COPIES = 4;
/**
 * Copies of a share's weights: targets, levels of several candidates, state of learned rounding.
 */
const WEIGHT_COPIES = 12;

/**
 * Bytes of a node's weights, at most. A session of WebAssembly has 4 GiB; those of the float model
 * and the simulation are open side by side, and one weight is there twice while it is packed.
 */
const NODE_BYTES = Math.floor(2 ** 32 / 3);
/** Bytes of the weights of a model that runs in one session. */
const WHOLE_BYTES = 1.8e9;

/**
 * Refuses what no session holds.
 *
 * @throws {AttuneError} `too-large` where the weights of one node are more than that, with their
 * bytes.
 */
export function checkNodes(graph: Graph): void {
  for (const [node, bytes] of weightBytes(graph)) {
    if (bytes <= NODE_BYTES) continue;
    throw new AttuneError(
      "too-large",
      `Cannot run node "${
        nodeName(node)
      }" of ${graph.model.name}: its weights have ${bytes} bytes, ` +
        `of ${NODE_BYTES} at most that a session can hold; split it into several nodes`,
    );
  }
}

/**
 * Refuses what needs the whole model in one session, where that does not hold it.
 *
 * @param what what needs it, as in "choose widths for".
 * @throws {AttuneError} `too-large`, with the bytes of its weights.
 */
export function checkWhole(graph: Graph, what: string): void {
  const bytes = graph.proto.initializer.reduce((sum, tensor) => sum + storedLength(tensor), 0);
  if (bytes <= WHOLE_BYTES) return;
  throw new AttuneError(
    "too-large",
    `Cannot ${what} ${graph.model.name}: that runs the whole model in one session, and its weights ` +
      `have ${bytes} bytes, of ${WHOLE_BYTES} at most; give one width for all layers`,
  );
}

/** Bytes that the kernel needs for the Gram matrices of `target` in blocks of `size` inputs. */
export function gramBytes({ groups, depth }: Target, size: number): number {
  return GRAM_COPIES * 4 * groups * depth * size;
}

/** In how many shares the rows of `target` are rounded at least, for each to fit. */
export function leastShares({ groups, rows, depth }: Target): number {
  return Math.ceil(WEIGHT_COPIES * 4 * groups * rows * depth / ROW_BYTES);
}

/**
 * How much of H is kept for `target`: all of it, or the largest blocks that fit.
 *
 * @param views How many H there are at a time: one for each width of a nested grid, which needs all
 * of each. Default: 1.
 * @throws {AttuneError} `too-large` where nothing fits, with the bytes that are needed.
 *
 * @example
 * ```ts
 * import { gramPlan } from "./memory.ts";
 *
 * const fc6 = { name: "fc6", groups: 1, rows: 4096, depth: 25088 };
 * const target = fc6 as Parameters<typeof gramPlan>[0];
 * const { kind, size } = gramPlan(target, { kind: "channel" }) as { kind: string; size: number };
 * if (kind !== "tiles" || 25088 % size !== 0) throw new Error("unexpected");
 * ```
 */
export function gramPlan(target: Target, granularity: Granularity, views = 1): GramPlan {
  const { name, groups, rows, depth } = target;
  const splittable = granularity.kind !== "tensor" && (groups === 1 ? rows : groups) > 1;
  if (!splittable && leastShares(target) > 8) {
    throw tooLarge(name, leastShares(target) * ROW_BYTES, "its weights share one scale");
  }
  const cross = 4 * groups * rows * depth;
  if (views * gramBytes(target, depth) <= GRAM_BYTES && cross <= GRAM_BYTES) {
    return { kind: "full" };
  }
  if (views > 1) {
    throw tooLarge(
      name,
      views * gramBytes(target, depth),
      `its grid is nested for ${views} widths`,
    );
  }
  const unit = granularity.kind === "group" ? Math.min(granularity.size, depth) : 1;
  // The largest divisor of the depth that is a whole number of scale blocks, and fits.
  const most = Math.max(MOST_INPUTS, unit);
  for (let size = most - most % unit; size >= unit; size -= unit) {
    if (depth % size === 0 && gramBytes(target, size) <= GRAM_BYTES) {
      return { kind: "tiles", size };
    }
  }
  throw tooLarge(name, gramBytes(target, unit), `scale blocks of ${unit} do not divide ${depth}`);
}

function tooLarge(name: string, bytes: number, why: string): AttuneError {
  return new AttuneError(
    "too-large",
    `Cannot quantize node "${name}": its statistics need ${(bytes / 2 ** 30).toFixed(1)} GiB of ` +
      `the kernel's 4 (${why}); use another granularity, or leave the node in float`,
    {
      remedies: [
        { option: "granularity" },
        { option: "overrides", value: { pattern: name, bits: "skip" } },
      ],
    },
  );
}
