/**
 * How the file keeps the levels of a layer.
 *
 * @module
 */

/** Bits of one field of a byte. */
export type PlaneWidth = 1 | 2 | 4 | 8;

/**
 * How levels lie in bytes.
 *
 * *Planes*: a level's code of b bits is cut into fields of `widths`, the highest bits first; a plane
 * holds one field of every level. In a plane of width w, level j has bits (j mod 8/w)·w and following
 * of byte ⌊j·w/8⌋, so that a table of 256 entries turns a byte into its levels. Planes are filled up
 * to a multiple of 8 levels.
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

/** How a layer's weight is kept. */
export type Storage =
  | {
    /** An ONNX integer tensor. */
    readonly kind: "integer";
    /** Bits of an element. */
    readonly bits: 2 | 4 | 8;
  }
  | {
    /** Bytes that standard operators unpack when the file is loaded. */
    readonly kind: "packed";
    /** Where the levels are in them. */
    readonly layout: Layout;
    /** Why it is not kept as the format asks for, where it is not. */
    readonly fallback?: string;
  }
  | {
    /** The weight of a MatMulNBits node. */
    readonly kind: "matmulnbits";
    /** Bits of a level. */
    readonly bits: NBits;
    /** Weights of a row that share a scale, a power of two of at least 16. */
    readonly blockSize: number;
  };

/** The widths that onnxruntime's MatMulNBits and GatherBlockQuantized take. */
export type NBits = 2 | 4 | 8;
