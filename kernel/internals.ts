// What the test build exports beside the shipped module's functions: internals that tests look at
// one by one. Nothing in the library may call them.

import { product } from "./gemm";

export { normals } from "./gaussian";

/** C (m × n) = A (m × k) · B (k × n), or C += where `accumulate`; all row-major. */
export function gemm(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, accumulate: bool): void {
  if (!accumulate) memory.fill(c, 0, (m * n) << 2);
  product(m, n, k, 1, a, k, 1, b, n, 1, c, n, false);
}
