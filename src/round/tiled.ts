/**
 * Rounding where only diagonal blocks of H are kept, since all of it would not fit into memory:
 * each tile of inputs is a problem of its own, with the scales of the whole rows.
 *
 * @module
 */

import { scalesPerRow } from "../kernel/arguments.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Problem, RowGrids } from "./problem.ts";
import { damped } from "./shift.ts";
import { diagonalOf, searchGrids } from "./scales.ts";
import { type Solution, solveLayer } from "./solve.ts";
import type { Work } from "./work.ts";

/** Random streams of a part: more than rows of a layer that is as deep. */
const STREAMS_PER_PART = 2 ** 16;

/** Rounds the rows of `problem`, whose `gram` holds tiles of `gramTile` inputs. */
export function* solveTiled(kernel: Kernel, problem: Problem): Work<Solution> {
  const { groups, rows, depth, gramTile: size, groupSize, weight, gram } = problem;
  const parts = depth / size;
  const { scales, lows } = gridsOf(kernel, problem);
  // Scales per row and part: of the blocks in it, or the row's own.
  const perPart = groupSize < depth ? size / groupSize : 1;
  const partWeight = partsFirst(weight, groups, rows, parts, size);
  const given = {
    scales: groupSize < depth
      ? partsFirst(scales, groups, rows, parts, perPart)
      : repeated(scales, groups, rows, parts),
    lows: repeated(lows, groups, rows, parts),
  };
  const levels = new Int8Array(weight.length);
  let nearest = 0, final = 0, power = 0;
  for (let tile = 0; tile < groups * parts; tile++) {
    const of = <T extends Float32Array | Int8Array>(values: T): T => {
      const width = values.length / (groups * parts);
      return values.slice(tile * width, (tile + 1) * width) as T;
    };
    const solution = yield* solveLayer(kernel, {
      ...problem,
      groups: 1,
      depth: size,
      groupSize: Math.min(groupSize, size),
      oneScale: false,
      weight: of(partWeight),
      given: { scales: of(given.scales), lows: of(given.lows) },
      gram: of(gram),
      shift: undefined,
      refit: false,
      // Draws must not depend on how many rows of the layer are in this share.
      stream: problem.stream + Math.floor(tile / parts) * rows + tile % parts * STREAMS_PER_PART,
    });
    yield 0;
    for (let r = 0; r < rows; r++) {
      const row = Math.floor(tile / parts) * rows + r;
      const part = solution.levels.subarray(r * size, (r + 1) * size);
      levels.set(part, row * depth + tile % parts * size);
    }
    nearest += solution.error.nearest;
    final += solution.error.final;
    power += solution.power;
  }
  return {
    levels,
    lows,
    scales: problem.oneScale ? scales.slice(0, 1) : scales,
    error: { nearest, final },
    power,
  };
}

/** The grids of whole rows, by the search that weighs squared errors with the diagonal of H. */
function gridsOf(kernel: Kernel, problem: Problem): RowGrids {
  const { groups, rows, depth, gramTile: size, groupSize, weight, gram, damping } = problem;
  const mark = kernel.mark();
  try {
    const { h } = damped(kernel, { groups: groups * depth / size, depth: size, gram }, damping);
    const scale = kernel.f32(groups * rows * scalesPerRow(depth, groupSize));
    const lo = kernel.f32(groups * rows);
    const target = kernel.f32(weight), importance = diagonalOf(kernel, h, size);
    searchGrids(kernel, problem, { target, importance, scale, lo });
    return { scales: scale.view.slice(), lows: Int8Array.from(lo.view) };
  } finally {
    kernel.reset(mark);
  }
}

/** Visits each row's part: its place by group, part, row, and by group, row, part. */
function forEachRun(
  groups: number,
  rows: number,
  parts: number,
  visit: (apart: number, together: number) => void,
): void {
  for (let g = 0; g < groups; g++) {
    for (let part = 0; part < parts; part++) {
      for (let r = 0; r < rows; r++) {
        visit((g * parts + part) * rows + r, (g * rows + r) * parts + part);
      }
    }
  }
}

/** groups × rows × (parts·width) as groups × parts × rows × width. */
function partsFirst(
  matrix: Float32Array,
  groups: number,
  rows: number,
  parts: number,
  width: number,
): Float32Array {
  const out = new Float32Array(matrix.length);
  forEachRun(groups, rows, parts, (apart, together) => {
    out.set(matrix.subarray(together * width, (together + 1) * width), apart * width);
  });
  return out;
}

/** One value per row, for each part of it. */
function repeated<T extends Float32Array | Int8Array>(
  values: T,
  groups: number,
  rows: number,
  parts: number,
): T {
  const out = new (values.constructor as new (length: number) => T)(values.length * parts);
  forEachRun(groups, rows, parts, (apart, together) => {
    out[apart] = values[Math.floor(together / parts)];
  });
  return out;
}
