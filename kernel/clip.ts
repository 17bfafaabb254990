// A cut to a range in four lanes.

/** x cut to [low, high]; NaN stays NaN, as it does with `min` and `max` of one lane. */
// @ts-ignore: decorator
@inline
export function clip4(x: v128, low: v128, high: v128): v128 {
  // A comparison with NaN is false, and gives the first operand.
  return f32x4.pmax(f32x4.pmin(x, high), low);
}
