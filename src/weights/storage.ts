/**
 * How the file keeps the levels of a layer.
 *
 * @module
 */

/** How a layer's weight is kept; formats add what else they decide. */
export interface Storage {
  /** The format that keeps it, a name of the table of formats. */
  readonly format: string;
  /** Bits of a level, without what rounding up to bytes adds. */
  readonly bits: number;
  /** Why that is not the format that was asked for, where it is not. */
  readonly fallback?: string;
}

/** The widths that onnxruntime's MatMulNBits and GatherBlockQuantized take. */
export type NBits = 2 | 4 | 8;
