/**
 * The opsets of what formats are made of.
 *
 * @module
 */

/** The first opset with each. */
export const OPSETS = {
  /** QuantizeLinear and DequantizeLinear with a scale for each channel. */
  channels: 13,
  /** BitwiseOr, which puts planes together. */
  bitwise: 18,
  /** Integers of 4 bits, and DequantizeLinear with a scale for each block. */
  int4: 21,
  /** Integers of 2 bits. */
  int2: 25,
} as const;
