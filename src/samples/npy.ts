/**
 * NumPy's .npy files, versions 1 to 3: header, and elements in row-major order.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { arrayConstructors, type TensorData } from "./sample.ts";
import type { ElementType } from "../onnx/inputs.ts";

/** What the header of a .npy file says. */
export interface NpyHeader {
  /** The element type. */
  readonly type: ElementType;
  /** Size of an element in bytes. */
  readonly elementSize: number;
  /** Whether the elements are stored with the most significant byte first. */
  readonly bigEndian: boolean;
  /** Whether the first axis varies fastest (Fortran order), not the last. */
  readonly fortranOrder: boolean;
  /** The shape. */
  readonly dims: readonly number[];
  /** Where the elements begin, in bytes from the start of the file. */
  readonly dataOffset: number;
}

/** A whole array: its element type, its shape, its elements in row-major order. */
export interface NpyArray {
  /** The element type; float16 is given as its bits, bool as 0 and 1. */
  readonly type: ElementType;
  /** The shape. */
  readonly dims: readonly number[];
  /** The elements. */
  readonly data: TensorData;
}

/** NumPy's kind and size to our element type. */
const elementTypes: ReadonlyMap<string, ElementType> = new Map(Object.entries<ElementType>({
  f2: "float16",
  f4: "float32",
  f8: "float64",
  i1: "int8",
  i2: "int16",
  i4: "int32",
  i8: "int64",
  u1: "uint8",
  u2: "uint16",
  u4: "uint32",
  u8: "uint64",
  b1: "bool",
}));

/** Longest header that is read, in bytes; those NumPy writes are far below. */
export const maxNpyHeader = 65_536;

/**
 * Parses the header at the start of `bytes` (the first `maxNpyHeader` bytes of the file are enough)
 * of a file that is `fileSize` bytes long. `source` names it in errors.
 *
 * Format: `\x93NUMPY`, major and minor version, length of the header (uint16 in version 1, uint32
 * later), and the header, a Python dictionary with `descr`, `fortran_order` and `shape`.
 *
 * Throws `AttuneError` `bad-data` if it is not a .npy file, is cut short, or holds elements that
 * are not plain numbers.
 */
export function parseNpyHeader(bytes: Uint8Array, fileSize: number, source: string): NpyHeader {
  const fail = (what: string) =>
    new AttuneError(
      "bad-data",
      `Cannot read "${source}" as .npy: ${what}; write it with numpy.save`,
    );
  const name = new TextDecoder().decode(bytes.subarray(1, 6));
  if (bytes[0] !== 0x93 || name !== "NUMPY") throw fail("it does not begin with \\x93NUMPY");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12) throw fail(`it ends after ${bytes.length} bytes`);
  const version = bytes[6];
  if (version < 1 || version > 3) throw fail(`its version is ${version}, not 1, 2 or 3`);
  const headerOffset = version === 1 ? 10 : 12;
  const headerLength = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const dataOffset = headerOffset + headerLength;
  if (dataOffset > Math.min(bytes.length, fileSize)) {
    throw fail(`its header of ${headerLength} bytes is cut short or too long`);
  }
  const header = new TextDecoder().decode(bytes.subarray(headerOffset, dataOffset));

  const descr = /'descr'\s*:\s*'([<>|=])([a-zA-Z]\d+)'/.exec(header);
  const type = descr === null ? undefined : elementTypes.get(descr[2]);
  if (descr === null || type === undefined) {
    const elementType = /'descr'\s*:\s*([^,}]{1,40})/.exec(header)?.[1] ?? "missing";
    throw fail(`its element type is ${elementType}, not a plain number or bool`);
  }
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header);
  const shape = /'shape'\s*:\s*\(\s*((?:\d+\s*,\s*)*(?:\d+\s*)?)\)/.exec(header);
  if (order === null || shape === null) throw fail("its header has no fortran_order or no shape");
  const dims = (shape[1].match(/\d+/g) ?? []).map(Number);
  const elementSize = Number(descr[2].slice(1));
  const dataSize = dims.reduce((product, dim) => product * dim, elementSize);
  if (dataOffset + dataSize > fileSize) {
    throw fail(
      `shape ${dims.join("×")} of ${type} needs ${dataSize} bytes, it has ${fileSize - dataOffset}`,
    );
  }
  return {
    type,
    elementSize,
    bigEndian: descr[1] === ">",
    fortranOrder: order[1] === "True",
    dims,
    dataOffset,
  };
}

/**
 * Turns stored bytes into elements. The length of `bytes` is a multiple of the element size; the
 * order of the elements stays as it is.
 */
export function decodeElements(bytes: Uint8Array, header: NpyHeader): TensorData {
  const { type, elementSize, bigEndian } = header;
  const copy = bytes.slice();
  if (bigEndian) {
    for (let at = 0; at < copy.length; at += elementSize) {
      copy.subarray(at, at + elementSize).reverse();
    }
  }
  return new arrayConstructors[type](copy.buffer);
}

/**
 * Parses a whole .npy file.
 *
 * Throws `AttuneError` `bad-data` as `parseNpyHeader` does.
 *
 * @example
 * ```ts
 * import { parseNpy } from "./npy.ts";
 *
 * const header = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }";
 * const head = "\x93NUMPY\x01\x00" + String.fromCharCode(header.length, 0) + header;
 * const text = head + "\x05\0\x06\0";
 * const { data } = parseNpy(Uint8Array.from(text, (char) => char.charCodeAt(0)), "example.npy");
 * if (data[1] !== 6) throw new Error("not read");
 * ```
 */
export function parseNpy(bytes: Uint8Array, source: string): NpyArray {
  const header = parseNpyHeader(bytes, bytes.length, source);
  const length = header.dims.reduce((product, dim) => product * dim, 1);
  const stored = decodeElements(
    bytes.subarray(header.dataOffset, header.dataOffset + length * header.elementSize),
    header,
  );
  const data = header.fortranOrder ? toRowMajor(stored, header.dims) : stored;
  return { type: header.type, dims: header.dims, data };
}

/** Reorders elements whose first axis varies fastest so that the last does. */
function toRowMajor(stored: TensorData, dims: readonly number[]): TensorData {
  const result = stored.slice();
  const index = new Array<number>(dims.length).fill(0);
  const strides = dims.map((_, axis) => dims.slice(0, axis).reduce((a, b) => a * b, 1));
  for (let to = 0, from = 0; to < result.length; to++) {
    result[to] = stored[from];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < dims[axis]) break;
      from -= strides[axis] * dims[axis];
      index[axis] = 0;
    }
  }
  return result;
}
