/**
 * The spectrum of a layer's W H Wᵀ, and what follows from it: coding length, nuclear norm.
 *
 * @module
 */

/** A layer as far as its spectrum goes. */
export interface Spectrum {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly depth: number;
  /** The eigenvalues of W H Wᵀ that can differ from zero: min(rows, depth) of each group. */
  readonly eigenvalues: Float64Array;
}

/**
 * The coding length in bits of the layer's matrices at the distortion `squared` = ε², the squared
 * error that is allowed per column: (o + d)/2 · log₂ det(I + o/(d ε²) W H Wᵀ) (Ma, Derksen, Hong,
 * Wright 2007).
 */
export function jointLength({ rows, depth, eigenvalues }: Spectrum, squared: number): number {
  const factor = rows / (depth * squared);
  let log = 0;
  for (const value of eigenvalues) log += Math.log2(1 + factor * value);
  return (rows + depth) / 2 * log;
}

/** The sum of the singular values of the layer's matrices. */
export function nuclearNorm({ eigenvalues }: Spectrum): number {
  return eigenvalues.reduce((sum, value) => sum + Math.sqrt(value), 0);
}

/** The squares of all elements of the layer's matrices W H^½. */
export function powerOf({ eigenvalues }: Spectrum): number {
  return eigenvalues.reduce((sum, value) => sum + value, 0);
}
