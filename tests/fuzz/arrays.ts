/** NumPy's files, sound and mutated. */

import { zipSync } from "fflate";
import { mutateBytes, type Random } from "./random.ts";

/** An array of a .npy file. */
export interface NpyArray {
  readonly dims: readonly number[];
  /** NumPy's name of the element type, as `<f4`. */
  readonly descr: string;
  readonly bytes: Uint8Array;
}

/** The bytes of a .npy file; `header` says something else than the array where it is given. */
export function npy({ dims, descr, bytes }: NpyArray, header?: string): Uint8Array<ArrayBuffer> {
  const shape = `(${dims.map((dim) => `${dim},`).join(" ")})`;
  const text = header ??
    `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  const line = new TextEncoder().encode(text.padEnd(117) + "\n"), start = 10 + line.length;
  const file = new Uint8Array(start + bytes.length);
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, line.length & 255, line.length >> 8]);
  file.set(line, 10);
  file.set(bytes, start);
  return file;
}

/** The bytes of a .npz file. */
export function npz(arrays: Readonly<Record<string, NpyArray>>): Uint8Array<ArrayBuffer> {
  return zipSync(
    Object.fromEntries(Object.entries(arrays).map(([name, array]) => [`${name}.npy`, npy(array)])),
    { mtime: new Date(2020, 1, 1) },
  );
}

const TYPES = "<f4 >f4 <f2 <f8 <i8 >i8 <u8 <i4 |u1 |i1 |b1 <c8 <U3 |O |V4 <M8[ns] =f4 f4".split(
  " ",
);
const SIZES = [0, 1, 2, 3, 8, 9, -1, 1e3, 2 ** 31, 2 ** 53, 1e18, 1e300, NaN];

/** The bytes of a .npy file of `array` that says, or holds, something else. */
export function mutateNpy(random: Random, array: NpyArray): Uint8Array<ArrayBuffer> {
  return random.do([
    () => mutateBytes(random, npy(array)),
    () => npy({ ...array, descr: random.pick(TYPES) }),
    () => npy({ ...array, dims: mutateDims(random, array.dims) }),
    () => npy({ ...array, bytes: mutateBytes(random, array.bytes) }),
    () =>
      npy({ ...array, bytes: new Uint8Array(array.bytes.length).fill(random.pick([127, 255])) }),
    () => {
      const text = `{'descr': '${array.descr}', 'fortran_order': ${
        random.pick(["True", "False", "None", "'x'", "1"])
      }, 'shape': (${mutateDims(random, array.dims).join(random.pick([", ", ",", " "]))}), }`;
      const bytes = mutateBytes(random, new TextEncoder().encode(text));
      return npy(array, random.chance(0.5) ? text : new TextDecoder().decode(bytes));
    },
  ]);
}

function mutateDims(random: Random, dims: readonly number[]): number[] {
  const changed = [...dims], at = random.below(dims.length + 1);
  random.do<unknown>([
    () => changed.splice(at, 1),
    () => changed.splice(at, 0, random.pick(SIZES)),
    () => changed.reverse(),
    () => changed[at] = random.pick(SIZES),
    () => changed.push(...Array(40).fill(1)),
  ]);
  return changed;
}

/** The bytes of a .npz file whose arrays, entries or directory are not what they say. */
export function mutateNpz(
  random: Random,
  arrays: Readonly<Record<string, NpyArray>>,
): Uint8Array<ArrayBuffer> {
  const files: Record<string, Uint8Array> = {};
  const level = random.pick([0, 6] as const);
  for (const [name, array] of Object.entries(arrays)) {
    const odd = random.pick([name, name, name, `../${name}`, "", "constructor", `${name}/x`]);
    files[`${odd}.npy`] = random.chance(0.3) ? mutateNpy(random, array) : npy(array);
  }
  if (random.chance(0.1)) files["big.npy"] = new Uint8Array(2e6);
  if (random.chance(0.1)) files["labels.npy"] = mutateNpy(random, Object.values(arrays)[0]);
  const zip = zipSync(files, { level, mtime: new Date(2020, 1, 1) });
  if (random.chance(0.2)) return mutateBytes(random, zip);
  const view = new DataView(zip.buffer, zip.byteOffset), entries: number[] = [];
  for (let at = 0; at + 46 <= zip.length; at++) {
    const signature = view.getUint32(at, true);
    if (signature === 0x02014b50 || signature === 0x04034b50) entries.push(at);
  }
  for (let i = random.below(3); i > 0; i--) {
    // Method, time, checksum, sizes, lengths of names, place: in one of the two records of an
    // entry.
    const at = random.pick(entries) + random.pick([6, 8, 10, 14, 16, 18, 20, 22, 24, 26, 28, 42]);
    const value = random.pick([
      0,
      1,
      8,
      99,
      0xffff,
      0x7fffffff,
      0xffffffff,
      zip.length,
      zip.length - 30,
    ]);
    if (random.chance(0.5)) view.setUint32(at, value, true);
    else view.setUint16(at, value & 0xffff, true);
  }
  return zip as Uint8Array<ArrayBuffer>;
}
