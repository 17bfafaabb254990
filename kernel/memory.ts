// Scratch memory of the kernel: it lies at the start of the heap, in front of the arena that
// JavaScript hands out (src/kernel/kernel.ts starts it at heapStart).

/** Rows of C per block of packed A, columns per block of packed B, inner dimension of both. */
export const MC: i32 = 128; // MC × KC floats = 128 KiB: half of a small L2
export const NC: i32 = 504; // a multiple of WIDTH; NC × KC floats = 504 KiB
export const KC: i32 = 256; // 12 × KC floats = 12 KiB: a panel of B stays in L1

/** Columns of B in a panel; panels of A have 4 rows. */
export const WIDTH: i32 = 12;
export const TILE_BYTES: usize = 4 * 4 * WIDTH;

/** Packed A, packed B, and one tile. The arena starts behind them. */
export const packedA: usize = __heap_base;
export const packedB: usize = packedA + <usize>(MC * KC * 4);
export const tile: usize = packedB + <usize>(NC * KC * 4);
export const heapStart: usize = tile + TILE_BYTES;

// @ts-ignore: decorator
@inline
export function f(p: usize, i: usize): f32 {
  return load<f32>(p + (i << 2));
}

// @ts-ignore: decorator
@inline
export function put(p: usize, i: usize, value: f32): void {
  store<f32>(p + (i << 2), value);
}

/** c + a·b in four lanes, rounded twice: the same bits on every machine. */
// @ts-ignore: decorator
@inline
export function madd(c: v128, a: v128, b: v128): v128 {
  return f32x4.add(c, f32x4.mul(a, b));
}

/**
 * c + a·b where it is a term of a long sum. The relaxed build lets the machine round once (a fused
 * multiply-add); whether it does differs between machines, and so do the last bits of the sum.
 */
// @ts-ignore: decorator
@inline
export function accumulate(c: v128, a: v128, b: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return madd(c, a, b);
}
