/**
 * Eigenvalues of a tridiagonal matrix, which the kernel makes of a layer's W H Wᵀ.
 *
 * @module
 */

/** Rounds of the QL algorithm per eigenvalue, at most; two are usual. */
const MOST_ROUNDS = 60;

/**
 * The eigenvalues of the symmetric tridiagonal matrix with these elements, n on the diagonal and n
 * − 1 beside it; in no order. Implicit QL (Bowdler, Martin, Reinsch, Wilkinson 1968), n² steps.
 *
 * @example
 * ```ts
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
