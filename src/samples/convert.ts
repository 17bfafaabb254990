/**
 * The same numbers in another element type.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { arrayConstructors, arrayFor, type TensorData } from "./sample.ts";
import type { ElementType, InputSpec } from "../onnx/inputs.ts";

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

/** The bits of the IEEE binary16 that is nearest to `value`, the even one of two. */
export function numberToFloat16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0, size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const exact = size * 2 ** (10 - exponent), down = Math.floor(exact), over = exact - down;
  const mantissa = down + Number(over > 0.5 || (over === 0.5 && down % 2 === 1));
  // The implicit bit of the mantissa counts the exponent up by one.
  return sign | ((exponent + 14) * 1024 + mantissa);
}

/**
 * Numbers, or true and false, as elements of the input `spec`; `source` names the sample in errors.
 *
 * Throws `AttuneError` `bad-data` if one is no number, or is an integer that does not fit.
 */
export function castNumbers(
  list: ArrayLike<unknown>,
  { name, type, ...spec }: InputSpec,
  source: string,
): TensorData {
  const result = new (arrayFor({ name, type, ...spec }))(list.length), kind = kindOf(type);
  const isBig = result instanceof BigInt64Array || result instanceof BigUint64Array;
  for (let i = 0; i < list.length; i++) {
    const value = typeof list[i] === "boolean" ? Number(list[i]) : list[i];
    const isExact = typeof value === "bigint" || Number.isSafeInteger(value);
    const fits = typeof value === "number" || typeof value === "bigint"
      ? kind === "float" || (isExact && (kind !== "bool" || value == 0 || value == 1))
      : false;
    if (fits) {
      const number = isBig ? BigInt(value as number) : Number(value);
      result[i] = type === "float16" ? numberToFloat16(Number(number)) : number;
      // Integer arrays wrap around.
      if (kind === "float" || result[i] == value) continue;
    }
    throw new AttuneError(
      "bad-data",
      `Cannot use sample "${source}": element ${i} of input "${name}" is ${
        typeof value === "object" ? JSON.stringify(value)?.slice(0, 40) : String(value).slice(0, 40)
      }, which is no ${type}; give numbers that fit`,
    );
  }
  return result;
}
