/**
 * What a rounding method is: a value that says what it can be asked for, where it works, and how it
 * rounds. The methods themselves are in `methods/`, their table in `methods.ts`.
 *
 * @module
 */

import type { Draws, Grid, Metric, Result, Sizes } from "../kernel/arguments.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import type { GridSolver } from "./grids.ts";
import type { Work } from "./work.ts";

/** A family of levels that methods may or may not know how to find. */
export type GridKind = "uniform" | "piecewise" | "nested";

/** A number that a method can be told. */
export interface MethodOption {
  /** What it is, in a few words for the help. */
  readonly doc: string;
  /** What it is where nothing is said. */
  readonly default: number;
  /** A whole number of at least 1, or any number from 0 on. */
  readonly check: "count" | "size";
  /** Whether the command line has a flag for it. Default: false. */
  readonly flag?: boolean;
}

/** What a method rounds: rows whose scales and windows are given, in the kernel's memory. */
export interface RoundingContext {
  /** The kernel that holds all buffers. */
  readonly kernel: Kernel;
  /** The rows to round; levels go to `q`. */
  readonly rows: Grid & Sizes & Result & Metric & Draws;
  /** Cholesky factors of H: groups × d × d. */
  readonly u: Buffer;
  /** What can be done on the levels that rows have. */
  readonly grid: GridSolver;
}

/** A way to find levels; `Options` is what a caller says of it, `kind` first. */
export interface Method<Options extends { readonly kind: string }> {
  /** Its name. */
  readonly kind: Options["kind"];
  /** What it does, in a line for the help. */
  readonly doc: string;
  /** What it can be told. */
  readonly options: { readonly [Name in Exclude<keyof Options, "kind">]-?: MethodOption };
  /**
   * Whether levels are learned by iterations: again for slightly other scales, that gains nothing.
   */
  readonly learned: boolean;
  /** The levels that it works on. */
  readonly grids: readonly GridKind[];
  /**
   * Finds levels for the scales of `context`; yields the iterations that were done. A method
   * without it keeps the nearest levels, which every other one starts from.
   */
  round?(context: RoundingContext, options: Options): Work<void>;
}
