/**
 * Levels in planes of bits, or as digits of base three: where they lie, and how many bytes that
 * takes.
 *
 * @module
 */

/** Bits of one field of a byte. */
export type PlaneWidth = 1 | 2 | 4 | 8;

/**
 * How levels lie in bytes.
 *
 * *Planes*: a level's code of b bits is cut into fields of `widths`, the highest bits first; a
 * plane holds one field of every level. In a plane of width w, level j has bits (j mod 8/w)·w and
 * following of byte ⌊j·w/8⌋, so that a table of 256 entries turns a byte into its levels. Planes
 * are filled up to a multiple of 8 levels.
 *
 * *Trits*: five levels −1, 0 or 1 to a byte, Σ (qⱼ mod 3)·3ʲ.
 */
export type Layout =
  | {
    /** Fields of bits. */
    readonly kind: "planes";
    /** Bits of each plane, the highest of the code first. */
    readonly widths: readonly PlaneWidth[];
  }
  | { /** Digits of base three. */ readonly kind: "trits" };

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

/** Bits that a level takes in `layout`. */
export function bitsIn(layout: Layout): number {
  return layout.kind === "trits" ? 8 / 5 : layout.widths.reduce<number>((sum, w) => sum + w, 0);
}

/** Bytes of each plane of `count` levels. */
export function planeBytes(layout: Layout, count: number): number[] {
  const unit = levelsAtOnce(layout), units = Math.ceil(count / unit);
  return layout.kind === "trits" ? [units] : layout.widths.map((width) => units * unit * width / 8);
}
