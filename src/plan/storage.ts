/**
 * How the file keeps the levels of a layer, and how many bytes that takes.
 *
 * @module
 */

import { planeBytes, planesOf } from "../formats/planes.ts";
import type { Layout, NBits, Storage } from "../weights/storage.ts";
import type { GridOfBits } from "../weights/grid.ts";
import type { ResolvedPlanOptions } from "./options.ts";
import type { Granularity } from "../weights/granularity.ts";
import type { Target } from "../weights/targets.ts";

/** Weights that share a scale in a MatMulNBits node, where the plan does not say. */
export const NBITS_BLOCK = 32;

/** The block sizes that MatMulNBits and GatherBlockQuantized take. */
const NBITS_BLOCKS = [16, 32, 64, 128, 256];

/** Bits per level that `storage` takes, without what rounding up to bytes adds. */
export function storedBits(storage: Storage): number {
  if (storage.kind !== "packed") return storage.bits;
  const { layout } = storage;
  return layout.kind === "trits" ? 8 / 5 : layout.widths.reduce<number>((sum, w) => sum + w, 0);
}

/** What {@linkcode storedBytes} counts. */
export interface StoredLevels {
  /** Rows of the matrix, of all groups. */
  readonly rows: number;
  /** Levels per row. */
  readonly depth: number;
  /** How they are kept. */
  readonly storage: Storage;
}

/** Bytes of the levels of a layer in the file, without scales. */
export function storedBytes({ rows, depth, storage }: StoredLevels): number {
  if (storage.kind === "packed") {
    return planeBytes(storage.layout, rows * depth).reduce((a, b) => a + b, 0);
  }
  if (storage.kind === "integer") return Math.ceil(rows * depth * storage.bits / 8);
  return rows * Math.ceil(depth / storage.blockSize) * storage.blockSize * storage.bits / 8;
}

/** How the weight of `target` is kept, by the format of `options`. */
export function storageOf(
  { format, activationBits }: ResolvedPlanOptions,
  target: Target,
  { bits, grid }: GridOfBits,
  granularity: Granularity,
): Storage {
  const layout: Layout = grid.kind === "ternary" ? { kind: "trits" } : planesOf(bits);
  if (format === "packed") return { kind: "packed", layout };
  if (format === "matmulnbits") {
    const fallback = nbitsRefusal(target, { bits, grid }, granularity);
    if (fallback !== undefined) return { kind: "packed", layout, fallback };
    const blockSize = granularity.kind === "block" ? granularity.size : NBITS_BLOCK;
    return { kind: "matmulnbits", bits: bits as NBits, blockSize };
  }
  // Tails reach beyond the integers of the width.
  if (grid.kind === "piecewise") return { kind: "integer", bits: 8 };
  // onnxruntime 1.30 merges int2 weights into integer kernels that do not take them where activations
  // are quantized, and the model no longer opens; in a Gemm whose columns do not fill whole bytes it
  // computes something else. What is left works.
  const int2 = activationBits === "none" && (target.op === "Conv" || target.op === "ConvTranspose");
  if (bits === 2 && int2) return { kind: "integer", bits: 2 };
  return { kind: "integer", bits: bits <= 4 ? 4 : 8 };
}

/** Why `target` cannot be a MatMulNBits node; undefined where it can. */
function nbitsRefusal(
  target: Target,
  { bits, grid }: GridOfBits,
  granularity: Granularity,
): string | undefined {
  if (target.op !== "MatMul") return `MatMulNBits is no ${target.op}`;
  if (target.weightInput === 0) return "MatMulNBits has its weight on the right";
  if (target.weight !== target.node.input[1]) return "MatMulNBits has its weight to itself";
  if (grid.kind === "piecewise") return "levels of MatMulNBits are evenly spaced";
  if (grid.kind === "nested") return "levels of MatMulNBits are not cut";
  if (bits !== 2 && bits !== 4 && bits !== 8) return "MatMulNBits has 2, 4 or 8 bits";
  if (granularity.kind === "block" && !NBITS_BLOCKS.includes(granularity.size)) {
    return `MatMulNBits has blocks of ${NBITS_BLOCKS.join(", ")}`;
  }
  return undefined;
}
