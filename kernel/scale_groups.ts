// Weights of a row that share a scale: a group. The scales of all rows lie one after another.

/** Groups of a row of d weights; the last one may be shorter. */
// @ts-ignore: decorator
@inline
export function scalesPerRow(d: i32, groupSize: i32): i32 {
  return (d + groupSize - 1) / groupSize;
}

/** Where the weights of scale `b` begin: scale b % perRow of row b / perRow. */
// @ts-ignore: decorator
@inline
export function groupStart(b: i32, perRow: i32, groupSize: i32, d: i32): i32 {
  return (b / perRow) * d + (b % perRow) * groupSize;
}

/** Where they end. */
// @ts-ignore: decorator
@inline
export function groupEnd(b: i32, perRow: i32, groupSize: i32, d: i32): i32 {
  return (b / perRow) * d + min(d, (b % perRow + 1) * groupSize);
}
