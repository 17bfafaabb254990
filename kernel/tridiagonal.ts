// W Wᵀ in tridiagonal form: its eigenvalues, and what is a function of them, are cheap from there.
// All in float64: the small eigenvalues are what long codes are about.

import { dot64 } from "./vector";

// @ts-ignore: decorator
@inline
function g(p: usize, i: i32): f64 {
  return load<f64>(p + (i << 3));
}

// @ts-ignore: decorator
@inline
function set(p: usize, i: i32, value: f64): void {
  store<f64>(p + (i << 3), value);
}

/**
 * Reduces a = w · wᵀ (w is n × d) by Householder reflections (Golub and Van Loan, Matrix
 * Computations, algorithm 8.3.1) to a symmetric tridiagonal matrix.
 *
 * `out` receives the n diagonal elements and the n − 1 beside them; `a` and `out` hold n × n and
 * 4 × n float64 numbers of working memory.
 */
export function tridiagonal(w: usize, n: i32, d: i32, a: usize, out: usize): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const value = dot64(w + ((i * d) << 2), w + ((j * d) << 2), d);
      set(a, i * n + j, value);
      set(a, j * n + i, value);
    }
  }
  const offDiagonal = out + (n << 3), v = offDiagonal + (n << 3), p = v + (n << 3);
  for (let k = 0; k < n - 1; k++) {
    // The reflection that turns column k below the diagonal into (length, 0, …).
    const rest = n - k - 1, column = a + ((k * n + k + 1) << 3);
    set(out, k, g(a, k * n + k));
    const squares = dotDouble(column, column, rest);
    const head = g(column, 0), length = head > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
    set(offDiagonal, k, length);
    const norm = squares - head * length; // vᵀv / 2
    if (!(norm > 0)) continue;
    memory.copy(v, column, rest << 3);
    set(v, 0, head - length);
    // p = A v / norm; A := A − v qᵀ − q vᵀ with q = p − (pᵀv / 2 norm) v.
    const corner = a + (((k + 1) * n + k + 1) << 3);
    for (let i = 0; i < rest; i++) {
      set(p, i, dotDouble(corner + ((i * n) << 3), v, rest) / norm);
    }
    const share = dotDouble(p, v, rest) / (2 * norm);
    for (let i = 0; i < rest; i++) set(p, i, g(p, i) - share * g(v, i));
    for (let i = 0; i < rest; i++) {
      const row = corner + ((i * n) << 3);
      const left = f64x2.splat(g(v, i)), right = f64x2.splat(g(p, i));
      let j = 0;
      for (; j + 2 <= rest; j += 2) {
        const at = j << 3;
        const change = f64x2.add(
          f64x2.mul(left, v128.load(p + at)),
          f64x2.mul(right, v128.load(v + at)),
        );
        v128.store(row + at, f64x2.sub(v128.load(row + at), change));
      }
      if (j < rest) set(row, j, g(row, j) - g(v, i) * g(p, j) - g(p, i) * g(v, j));
    }
  }
  if (n > 0) set(out, n - 1, g(a, n * n - 1));
}

function dotDouble(a: usize, b: usize, n: i32): f64 {
  let even = f64x2.splat(0), odd = f64x2.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = a + (i << 3), bt = b + (i << 3);
    even = f64x2.add(even, f64x2.mul(v128.load(at), v128.load(bt)));
    odd = f64x2.add(odd, f64x2.mul(v128.load(at, 16), v128.load(bt, 16)));
  }
  even = f64x2.add(even, odd);
  let total = f64x2.extract_lane(even, 0) + f64x2.extract_lane(even, 1);
  for (; i < n; i++) total += g(a, i) * g(b, i);
  return total;
}
