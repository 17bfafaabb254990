/**
 * What becomes of one layer: its width, its levels, how the file keeps them, and what that takes.
 *
 * @module
 */

import { formatOf } from "../formats/formats.ts";
import { type LayerPlan, scaleCount } from "../weights/layer.ts";
import { hasBias } from "../weights/operators.ts";
import { windowsOf } from "../weights/grid.ts";
import { gramPlan } from "./memory.ts";
import type { ResolvedPlanOptions, Width } from "./options.ts";
import type { Granularity } from "../weights/granularity.ts";
import type { Target } from "../weights/target.ts";

/**
 * A free layer of `plan` with another width: all that depends on it, such as its bytes, is anew.
 */
export function layerAtWidth(
  plan: { readonly options: ResolvedPlanOptions },
  layer: LayerPlan,
  bits: number,
): LayerPlan {
  return layerPlan({ ...plan.options, bits }, layer.target, undefined, false);
}

/** Options with one width. */
export type UniformOptions = ResolvedPlanOptions & { readonly bits: Width };

/** The bits that levels of a width take. */
export function bitsOf(width: Width): number {
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
function biasBytes({ nested = [] }: ResolvedPlanOptions, target: Target): number {
  if (!hasBias(target)) return 0;
  return Math.ceil(16 / 3 * target.groups * target.rows) * Math.max(0, nested.length - 1);
}

/** How many weights of `target` share a scale: all where no axis counts its output channels. */
function granularityOf({ granularity }: ResolvedPlanOptions, target: Target): Granularity {
  const { shape, axis, groups, rows } = target;
  return shape[axis] === groups * rows ? granularity : { kind: "tensor" };
}

/**
 * What becomes of `target`; `override` is a width of its own, `edge` whether it is a first or last
 * layer.
 */
export function layerPlan(
  options: UniformOptions,
  target: Target,
  override: Width | undefined,
  edge: boolean,
): LayerPlan {
  const { bits, grid, note } = gridOf(options, override, edge);
  const granularity = granularityOf(options, target);
  const groupSize = granularity.kind === "group"
    ? Math.min(granularity.size, target.depth)
    : target.depth;
  const layer = {
    target,
    bits,
    grid,
    windows: windowsOf(grid, bits, options.symmetric),
    granularity,
    groupsPerRow: Math.ceil(target.depth / groupSize),
    groupSize,
  };
  const storage = formatOf(options.format).storage(layer, options), stored = { ...layer, storage };
  const { levels } = formatOf(storage.format).bytes(stored, options);
  return {
    ...stored,
    gram: gramPlan(target, granularity, grid.kind === "nested" ? grid.widths.length : 1),
    bytesBefore: 4 * target.groups * target.rows * target.depth,
    bytesAfter: levels + 4 * scaleCount(layer) + biasBytes(options, target),
    free: note === undefined,
    note,
  };
}

/** The widths but the widest that one of `layers` has a nested grid for, falling. */
export function narrowerWidths(layers: readonly LayerPlan[]): number[] {
  const widths = layers.flatMap(({ grid }) => grid.kind === "nested" ? grid.widths.slice(1) : []);
  return [...new Set(widths)].sort((a, b) => b - a);
}
