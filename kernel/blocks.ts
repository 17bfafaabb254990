// Weights of a row that share a scale: a block. The scales of all rows lie one after another.

/** Blocks of a row of d weights; the last one may be shorter. */
// @ts-ignore: decorator
@inline
export function blocksOf(d: i32, block: i32): i32 {
  return (d + block - 1) / block;
}

/** Where the weights of scale `b` begin: scale b % blocks of row b / blocks. */
// @ts-ignore: decorator
@inline
export function blockStart(b: i32, blocks: i32, block: i32, d: i32): i32 {
  return (b / blocks) * d + (b % blocks) * block;
}

/** Where they end. */
// @ts-ignore: decorator
@inline
export function blockEnd(b: i32, blocks: i32, block: i32, d: i32): i32 {
  return (b / blocks) * d + min(d, (b % blocks + 1) * block);
}
