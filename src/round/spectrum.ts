/**
 * Eigenvalues of a layer's W H Wᵀ, and what follows from them: coding length, nuclear norm.
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

/** Rounds of the QL algorithm per eigenvalue, at most; two are usual. */
const MOST_ROUNDS = 60;

/**
 * The eigenvalues of the symmetric tridiagonal matrix with these elements, n on the diagonal and n − 1
 * beside it; in no order. Implicit QL (Bowdler, Martin, Reinsch, Wilkinson 1968), n² steps.
 *
 * @example
 * ```ts
 * import { eigenvaluesOf } from "./spectrum.ts";
 *
 * const [a, b] = eigenvaluesOf(new Float64Array([2, 2]), new Float64Array([1])).sort();
 * if (Math.abs(a - 1) + Math.abs(b - 3) > 1e-12) throw new Error("unexpected");
 * ```
 */
export function eigenvaluesOf(diagonal: Float64Array, beside: Float64Array): Float64Array {
  const n = diagonal.length, d = diagonal.slice(), e = new Float64Array(n);
  e.set(beside.subarray(0, Math.max(0, n - 1)));
  for (let l = 0; l < n; l++) {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]) > 2 ** -52 * (Math.abs(d[m]) + Math.abs(d[m + 1]))) m++;
      if (m === l) break;
      const half = (d[l + 1] - d[l]) / (2 * e[l]);
      const root = Math.sqrt(half * half + 1);
      let g = d[m] - d[l] + e[l] / (half + (half < 0 ? -root : root));
      let sine = 1, cosine = 1, moved = 0, i = m - 1;
      for (; i >= l; i--) {
        const f = sine * e[i], b = cosine * e[i];
        const length = Math.sqrt(f * f + g * g);
        e[i + 1] = length;
        if (length === 0) break;
        sine = f / length;
        cosine = g / length;
        g = d[i + 1] - moved;
        const r = (d[i] - g) * sine + 2 * cosine * b;
        moved = sine * r;
        d[i + 1] = g + moved;
        g = cosine * r - b;
      }
      if (i >= l) d[i + 1] -= moved;
      else {
        d[l] -= moved;
        e[l] = g;
      }
      e[m] = 0;
    }
  }
  // A Gram matrix has none below zero; rounding may say so.
  return d.map((value) => Math.max(0, value));
}

/**
 * The coding length in bits of the layer's matrices at the distortion `squared` = ε², the squared error
 * that is allowed per column: (o + d)/2 · log₂ det(I + o/(d ε²) W H Wᵀ) (Ma, Derksen, Hong, Wright 2007).
 */
export function codingLength({ rows, depth, eigenvalues }: Spectrum, squared: number): number {
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
