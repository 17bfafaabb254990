/**
 * What differs between grids when rows are rounded: how scales and windows are searched, what the
 * nearest level is, and how levels are found one after another. A problem names its grid by a plain
 * value, since problems are sent to workers.
 *
 * @module
 */

import type { Grid, Levels, Sizes } from "../kernel/arguments.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Grid as LayerGrid } from "../weights/grid.ts";
import type { LevelWindows } from "../weights/levels.ts";
import { codebookGrids, nearestOf, roundToCodebook } from "./codebook.ts";
import type { GridSearch, SequentialRounding } from "./search.ts";
import { ternaryScales } from "./ternary.ts";

/** The levels of rows, as their windows do not tell them. */
export type RowGrid =
  | { /** All integers of the window. */ readonly kind: "uniform" }
  | { /** −1, 0 and 1. */ readonly kind: "ternary" }
  | {
    /** Some integers of the window. */
    readonly kind: "piecewise";
    /** Those of the first window, rising. */
    readonly codebook: Int8Array;
  };

/** What can be done on a grid. */
export interface GridSolver {
  /** Writes the windows and scales of least weighted squared error into `lo` and `scale`. */
  search(kernel: Kernel, windows: LevelWindows, search: GridSearch): void;
  /** Writes the nearest level of every weight into `q`. */
  snap(kernel: Kernel, rows: Grid & Sizes & Levels): void;
  /** Attention Round's sequential form: the best of a few candidates, polished. */
  sequential(kernel: Kernel, rows: SequentialRounding): void;
}

/** Shrink factors that are tried, from the smallest to 1. */
const CANDIDATES = 81, SHRINK_FROM = 0.2;

const uniform: GridSolver = {
  search(kernel, { span, lows }, search) {
    const places = kernel.f32(Float32Array.from(lows));
    const tried = { candidates: CANDIDATES, shrinkFrom: SHRINK_FROM };
    kernel.gridSearch({ ...search, lows: places, span, ...tried });
  },
  snap: (kernel, rows) => kernel.nearest(rows),
  sequential(kernel, rows) {
    kernel.sequential({ ...rows, taus: kernel.f32(rows.taus) });
    kernel.polish(rows);
  },
};

const ternary: GridSolver = {
  ...uniform,
  search: (_kernel, _windows, search) => ternaryScales(search),
};

const piecewise = ({ codebook }: RowGrid & { kind: "piecewise" }): GridSolver => ({
  search: (_, windows, search) => void codebookGrids(codebook, windows, search),
  snap: (_, rows) => nearestOf(codebook, rows),
  sequential: (kernel, rows) => roundToCodebook(kernel, codebook, rows),
});

/** All grids. */
const GRIDS: {
  readonly [Kind in RowGrid["kind"]]: (grid: RowGrid & { readonly kind: Kind }) => GridSolver;
} = { uniform: () => uniform, ternary: () => ternary, piecewise };

/** What can be done on `grid`. */
export function gridSolver(grid: RowGrid): GridSolver {
  return (GRIDS[grid.kind] as (grid: RowGrid) => GridSolver)(grid);
}

/** The grid that the rows of a layer have; a piecewise one is even until its codebook is found. */
export function rowGrid({ kind }: LayerGrid): RowGrid {
  return { kind: kind === "ternary" ? kind : "uniform" };
}
