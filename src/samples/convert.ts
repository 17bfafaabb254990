/**
 * The same numbers in another element type.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { arrayConstructors, type TensorData } from "./sample.ts";
import type { ElementType } from "../onnx/inputs.ts";

/** What an element type holds. */
export function kindOf(type: ElementType): "float" | "integer" | "bool" {
  return type === "bool" ? "bool" : type.startsWith("float") ? "float" : "integer";
}

/**
 * Whether numbers of type `from` may be fed as `to`. Integers are not turned to floats: they are
 * mostly pixels that have not been scaled yet.
 */
export function canConvert(from: ElementType, to: ElementType): boolean {
  return from === to || (kindOf(from) === kindOf(to) && to !== "float16");
}

/**
 * Converts elements between types for which `canConvert` holds; `source` names them in errors.
 *
 * Throws `AttuneError` `bad-data` if an integer does not fit.
 */
export function convertElements(
  data: TensorData,
  from: ElementType,
  to: ElementType,
  source: string,
): TensorData {
  if (from === to) return data;
  const result = new arrayConstructors[to](data.length);
  const isBig = result instanceof BigInt64Array || result instanceof BigUint64Array;
  for (let i = 0; i < data.length; i++) {
    const value = from === "float16" ? float16ToNumber(Number(data[i])) : data[i];
    result[i] = isBig ? BigInt(value) : Number(value);
    if (kindOf(to) === "integer" && Number(result[i]) !== Number(value)) {
      throw new AttuneError(
        "bad-data",
        `Cannot use "${source}": ${value} at element ${i} does not fit ${to}, which the model ` +
          `wants; save values that fit`,
      );
    }
  }
  return result;
}

/** The value of IEEE binary16 `bits`: 1 bit sign, 5 bits exponent, 10 bits mantissa. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * mantissa * 2 ** -24
    : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
