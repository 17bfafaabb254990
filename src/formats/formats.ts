/**
 * The file formats: a line for each.
 *
 * @module
 */

import { float } from "./float.ts";
import type { Format } from "./format.ts";
import { matmulnbits } from "./matmulnbits.ts";
import { packed } from "./packed.ts";
import { qdq } from "./qdq.ts";

/**
 * What is written.
 *
 * - `qdq`: standard QuantizeLinear and DequantizeLinear on integers of 2, 4 or 8 bits.
 * - `packed`: levels in as many bits as they have, unpacked by standard operators that onnxruntime
 *   folds when it opens the file. The true size, at the speed of int8 or float.
 * - `matmulnbits`: onnxruntime's MatMulNBits and GatherBlockQuantized for matrix products and
 *   embedding tables; the other layers are packed.
 * - `float`: dequantized weights, for study.
 */
export type FormatName = "qdq" | "packed" | "matmulnbits" | "float";

/** Every format by its name. */
export const formats: Readonly<Record<FormatName, Format>> = { qdq, packed, matmulnbits, float };

/** The names of all formats. */
export function formatNames(): FormatName[] {
  return Object.keys(formats) as FormatName[];
}

/** The format called `name`. */
export function formatOf(name: string): Format {
  return (formats as Readonly<Record<string, Format>>)[name];
}
