/**
 * Levels in planes of bits, or as digits of base three: how many bytes that takes.
 *
 * @module
 */

import type { Layout, PlaneWidth } from "../weights/storage.ts";

/** The planes of a width. One table look-up per plane: fewer planes are fewer operators. */
const PLANES: Readonly<Record<number, readonly PlaneWidth[]>> = {
  2: [2],
  3: [2, 1],
  4: [4],
  5: [4, 1],
  6: [4, 2],
  7: [4, 2, 1],
  8: [8],
};

/** The layout of levels of `bits`, 2 to 8. */
export function planesOf(bits: number): Layout {
  return { kind: "planes", widths: PLANES[bits] };
}

/** Levels that fill whole bytes in every plane of `layout`. */
export function levelsAtOnce(layout: Layout): number {
  return layout.kind === "trits" ? 5 : layout.widths[0] === 8 ? 1 : 8;
}

/** Bytes of each plane of `count` levels. */
export function planeBytes(layout: Layout, count: number): number[] {
  const unit = levelsAtOnce(layout), units = Math.ceil(count / unit);
  return layout.kind === "trits" ? [units] : layout.widths.map((width) => units * unit * width / 8);
}
