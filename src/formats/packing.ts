/**
 * Levels as bytes and back, in the layouts of planes.ts. What a file's operators do when it is
 * loaded, `unpackLevels` does here.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { bitsIn, type Layout, planeBytes } from "./planes.ts";

/** How codes become levels. */
export interface Coding {
  /** Where codes lie in bytes. */
  readonly layout: Layout;
  /**
   * Whether the highest bit of a code is a sign; not where codes number the levels of a codebook.
   */
  readonly signed: boolean;
}

/**
 * What a byte of a plane holds: `each` digits of `base`, the lowest first. A digit d stands for
 * ((d + half) mod base − half) · unit, a two's complement where half is ⌊base / 2⌋; digits of all
 * planes put together by a bitwise or are the code.
 */
export interface Digits {
  /** Values of a digit. */
  readonly base: number;
  /** Digits in a byte. */
  readonly each: number;
  /** What is taken for negative: digits from base − half; 0 where none are. */
  readonly half: number;
  /** What one is worth in the code. */
  readonly unit: number;
}

/** The digits of each plane; only those of the first one have a sign. */
export function digitsOf({ layout, signed }: Coding): Digits[] {
  if (layout.kind === "trits") return [{ base: 3, each: 5, half: 1, unit: 1 }];
  let shift = bitsIn(layout);
  return layout.widths.map((width, plane) => ({
    base: 2 ** width,
    each: 8 / width,
    half: signed && plane === 0 ? 2 ** (width - 1) : 0,
    unit: 2 ** (shift -= width),
  }));
}

/**
 * Packs `codes`: one array of bytes per plane.
 *
 * @throws {AttuneError} `internal` where a code does not fit.
 *
 * @example
 * ```ts
 * import { packLevels } from "./packing.ts";
 *
 * const layout = { kind: "planes", widths: [2, 1] } as const;
 * const [high, low] = packLevels(Int8Array.of(-4, 3, 0, -1), { layout, signed: true });
 * // 100, 011, 000 and 111: 10, 01, 00, 11 above and 0, 1, 0, 1 below, from the lowest bits up.
 * if (high[0] !== 0b11_00_01_10 || low[0] !== 0b1010) throw new Error("unexpected");
 * ```
 */
export function packLevels(codes: Int8Array, coding: Coding): Uint8Array[] {
  const planes = digitsOf(coding), [first] = planes;
  // The first digit decides the range; the others fill what is between two of its values.
  checkRange(codes, -first.half * first.unit, (first.base - first.half) * first.unit - 1);
  const sizes = planeBytes(coding.layout, codes.length);
  return planes.map(({ base, each, unit }, plane) => {
    const bytes = new Uint8Array(sizes[plane]);
    for (let i = 0; i < codes.length; i++) {
      const digit = (Math.floor(codes[i] / unit) % base + base) % base;
      bytes[Math.floor(i / each)] += digit * base ** (i % each);
    }
    return bytes;
  });
}

/** The inverse of {@linkcode packLevels} for `count` codes. */
export function unpackLevels(
  planes: readonly Uint8Array[],
  count: number,
  coding: Coding,
): Int8Array {
  const codes = new Int8Array(count);
  digitsOf(coding).forEach(({ base, each, half, unit }, plane) => {
    for (let i = 0; i < count; i++) {
      const digit = Math.floor(planes[plane][Math.floor(i / each)] / base ** (i % each));
      codes[i] |= ((digit + half) % base - half) * unit;
    }
  });
  return codes;
}

function checkRange(codes: Int8Array, lo: number, hi: number): void {
  const wrong = codes.find((code) => code < lo || code > hi);
  if (wrong === undefined) return;
  throw new AttuneError("internal", `Cannot pack the level ${wrong}: give ${lo} to ${hi}`);
}

/**
 * What is taken off the levels of each row so that they fit into `bits` with a sign: nothing where
 * the row's window, of `span + 1` levels from its low one on, does. One number where all rows
 * agree.
 */
export function windowOffsets(lows: Int8Array, span: number, bits: number): Int8Array {
  const least = -(2 ** (bits - 1)), most = -least - 1;
  return agreed(lows.map((lo) => lo < least || lo + span > most ? lo - least : 0));
}

/**
 * How far the levels of each row are moved from those of `codebook`; one number where all rows
 * agree.
 */
export function codebookOffsets(lows: Int8Array, codebook: Int8Array): Int8Array {
  return agreed(lows.map((lo) => lo - codebook[0]));
}

/** One of `offsets` where all are the same. */
function agreed(offsets: Int8Array): Int8Array {
  return offsets.every((offset) => offset === offsets[0]) ? offsets.slice(0, 1) : offsets;
}

/** `levels` of a matrix less the offset of their row. */
export function withoutOffsets(levels: Int8Array, offsets: Int8Array): Int8Array {
  if (offsets.every((offset) => offset === 0)) return levels;
  const depth = levels.length / offsets.length;
  return levels.map((level, i) => level - offsets[Math.floor(i / depth)]);
}

/** The number of each level of `levels` in `codebook`. */
export function codesOf(levels: Int8Array, codebook: Int8Array): Int8Array {
  const codes = new Map([...codebook].map((level, code) => [level, code]));
  return levels.map((level) => {
    const code = codes.get(level);
    if (code !== undefined) return code;
    throw new AttuneError("internal", `Cannot pack the level ${level}: the codebook has none`);
  });
}
