import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { zipSync } from "fflate";
import { AttuneError } from "../src/errors.ts";
import { openNpy, openNpz } from "../src/samples/arrays.ts";
import { withBatchAxis } from "../src/samples/batch_axis.ts";
import { float16ToNumber } from "../src/samples/convert.ts";
import { parseNpy } from "../src/samples/npy.ts";
import { openZip } from "../src/samples/npz.ts";
import type { SampleSet } from "../src/samples/sample.ts";
import type { ElementType, InputSpec } from "../src/onnx/inputs.ts";

const fixture = (name: string) => Deno.readFileSync(new URL(`fixtures/${name}`, import.meta.url));
const types = new Map<string, Uint8Array<ArrayBuffer>>();
const zip = await openZip(new Blob([fixture("types.npz")]), "types.npz");
for (const name of zip.names) types.set(name, await zip.unpack(name));

function spec(dims: InputSpec["dims"], type: ElementType = "float32", name = "x"): InputSpec {
  return { name, dims, type };
}

async function collect(set: SampleSet) {
  const samples = [];
  for await (const sample of set.samples()) samples.push(sample);
  return samples;
}

/** A .npy file by hand: any header text, any bytes after it. */
function npy(header: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  return new Uint8Array([
    ...[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8],
    ...text,
    ...data,
  ]);
}

const arrays: Record<string, new (values: number[]) => ArrayLike<number>> = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
};

for (const [type, array] of Object.entries(arrays)) {
  Deno.test(`npy reads NumPy's ${type}`, () => {
    const { dims, data, type: found } = parseNpy(types.get(type)!, type);
    assertEquals([found, dims], [type, [2, 3]]);
    assertEquals(data as unknown, new array([1, 2, 3, 4, 5, 100]));
  });
}

Deno.test("npy reads NumPy's int64, uint64, bool and big-endian", () => {
  const values = [1n, 2n, 3n, 4n, 5n, 100n];
  assertEquals(parseNpy(types.get("int64")!, "").data, new BigInt64Array(values));
  assertEquals(parseNpy(types.get("uint64")!, "").data, new BigUint64Array(values));
  const { data, type } = parseNpy(types.get("bool")!, "");
  assertEquals([type, data], ["bool", new Uint8Array([1, 0, 1, 0, 0, 1])]);
  assertEquals(
    parseNpy(types.get("big_endian")!, "").data,
    new Float32Array([1, 2, 3, 4, 5, 100]),
  );
});

Deno.test("npy reads NumPy's float16 with infinities, NaN and subnormals", () => {
  const { data, type } = parseNpy(types.get("special")!, "");
  assertEquals(type, "float16");
  const numbers = Array.from(data as Uint16Array, float16ToNumber);
  assertEquals(numbers, [Infinity, -Infinity, NaN, 0.5, -(2 ** -24), 65504]);
});

for (const name of ["c_order", "fortran_order", "version2", "version3"]) {
  Deno.test(`npy reads ${name} row by row and as a whole`, async () => {
    const bytes = fixture(`${name}.npy`);
    const expected = Float32Array.from({ length: 24 }, (_, i) => i);
    assertEquals(parseNpy(bytes, name).data, expected);
    const set = await openNpy(new Blob([bytes]), name, { inputs: [spec(["N", 3, 4])] });
    assertEquals(set.count, 2);
    const samples = await collect(set);
    assertEquals(samples.map((sample) => sample.inputs.x), [
      { dims: [3, 4], data: expected.slice(0, 12) },
      { dims: [3, 4], data: expected.slice(12) },
    ]);
    assertEquals(samples[1].source, `${name}[1]`);
  });
}

Deno.test("npy gives a typed error for every truncation of a file", () => {
  const bytes = fixture("c_order.npy");
  for (let length = 0; length < bytes.length; length++) {
    assertThrows(() => parseNpy(bytes.subarray(0, length), "cut.npy"), AttuneError, "cut.npy");
  }
});

Deno.test("npy refuses headers that lie", () => {
  const data = new Uint8Array(8);
  const refused: Record<string, string> = {
    "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }": "needs 12 bytes, it has 8",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }": "bytes",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }": "no shape",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1e3,), }": "no shape",
    "{'descr': '<f4', 'shape': (1,), }": "no fortran_order",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }": "'<c8'",
    "{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }": "'<U2'",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }": "element type",
    "": "element type is missing",
  };
  for (const [header, message] of Object.entries(refused)) {
    assertThrows(() => parseNpy(npy(header, data), "bad.npy"), AttuneError, message);
  }
  const versioned = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", data);
  versioned[6] = 9;
  assertThrows(() => parseNpy(versioned, "bad.npy"), AttuneError, "version is 9");
  assertThrows(() => parseNpy(fixture("object.npy"), "object.npy"), AttuneError, "'|O'");
});

Deno.test("npz gives arrays by name, with their labels", async () => {
  const file = new Blob([fixture("labelled.npz")]);
  const samples = await collect(
    await openNpz(file, "labelled.npz", { inputs: [spec(["N", 3, 4])] }),
  );
  assertEquals(samples.map((sample) => sample.label), [7, 3]);
  const one = await openNpz(file, "labelled.npz", { inputs: [spec(["N", 3, 4])], limit: 1 });
  assertEquals([one.count, (await collect(one)).length], [1, 1]);
});

Deno.test("npz feeds several inputs, each converted to its type", async () => {
  const inputs = [
    spec(["N", 3], "int64", "int32"),
    spec([1, "features"], "float32", "float16"),
    spec(["N", 3], "bool", "bool"),
  ];
  const [, second] = await collect(
    await openNpz(new Blob([fixture("types.npz")]), "types.npz", { inputs }),
  );
  assertEquals(second.inputs.int32.data, new BigInt64Array([4n, 5n, 100n]));
  assertEquals(second.inputs.float16.data, new Float32Array([4, 5, 100]));
  assertEquals(second.inputs.bool.data, new Uint8Array([0, 0, 1]));
});

Deno.test("npz with one array feeds the one input, whatever its name", async () => {
  const zip = zipSync({ "arr_0.npy": fixture("c_order.npy") });
  const set = await openNpz(new Blob([zip]), "a.npz", { inputs: [spec(["N", 3, 4])] });
  assertEquals((await collect(set))[1].inputs.x.data[0], 12);
});

/** What comes of unpacking all arrays of `bytes`. */
async function unpackAll(bytes: Uint8Array<ArrayBuffer>, name: string) {
  const zip = await openZip(new Blob([bytes]), name);
  for (const each of zip.names) await zip.unpack(each);
}

/** Offsets of the entries of a zip file's central directory. */
function directoryOf(zip: Uint8Array<ArrayBuffer>): { view: DataView; entries: number[] } {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  const entries: number[] = [];
  for (let at = 0; at < zip.length - 4; at++) {
    if (view.getUint32(at, true) === 0x02014b50) entries.push(at);
  }
  return { view, entries };
}

Deno.test("npz refuses what is damaged or holds no array", async () => {
  const bytes = fixture("labelled.npz");
  const refused = (bytes: Uint8Array<ArrayBuffer>, name: string, message: string) =>
    assertRejects(() => unpackAll(bytes, name), AttuneError, message);
  await refused(bytes.slice(0, 200), "cut.npz", "cut.npz");
  await refused(zipSync({ "a.txt": bytes }), "a.npz", "no .npy file");

  // The size after unpacking is at byte 24 of an entry, its checksum at 16, its place at 42.
  const x = Uint8Array.from({ length: 5000 }, (_, i) => i % 7), y = x.slice().reverse();
  for (const size of [10, 4999, 5001, 0xfffffff0]) {
    const lying = zipSync({ "x.npy": x }), { view, entries: [entry] } = directoryOf(lying);
    view.setUint32(entry + 24, size, true);
    await refused(lying, "lying.npz", `array "x"`);
  }
  const wrong = zipSync({ "x.npy": x }), sum = directoryOf(wrong);
  sum.view.setUint32(sum.entries[0] + 16, 1, true);
  await refused(wrong, "wrong.npz", `array "x"`);
  const shared = zipSync({ "x.npy": x, "y.npy": y }), { view, entries } = directoryOf(shared);
  view.setUint32(entries[1] + 42, view.getUint32(entries[0] + 42, true), true);
  await refused(shared, "shared.npz", "");
});

Deno.test("npz unpacks only what the model is fed with, and says what it leaves", async () => {
  const damaged = zipSync({
    "x.npy": fixture("c_order.npy"),
    "y.npy": fixture("c_order.npy"),
    "z.npy": new Uint8Array(3000),
  });
  const { view, entries } = directoryOf(damaged);
  view.setUint32(entries[2] + 16, 1, true);
  const inputs = [spec(["N", 3, 4]), spec(["N", 3, 4], "float32", "y")];
  const said: string[] = [];
  const set = await openNpz(new Blob([damaged]), "a.npz", {
    inputs,
    onWarning: ({ message }) => said.push(message),
  });
  assertEquals((await collect(set)).length, 2);
  assertEquals(said, [`no input of the model that has to be fed is called "z"`]);
});

Deno.test("arrays feed whole inputs, or rows that make up one in turn", async () => {
  const file = new Blob([fixture("c_order.npy")]);
  const open = async (dims: InputSpec["dims"], options = {}) => {
    const set = await openNpy(file, "a.npy", { inputs: [spec(dims)], ...options });
    return (await collect(set)).map(({ inputs }) => inputs.x.dims);
  };
  assertEquals(await open([3, 4]), [[3, 4], [3, 4]]);
  assertEquals(await open(["T", "F"]), [[3, 4], [3, 4]]);
  assertEquals(await open([2, 3, 4], { limit: 1 }), [[3, 4], [3, 4]]);
  // As many labels as there are whole inputs say that two rows are one.
  const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }`;
  const labels = new Blob([npy(header, Uint8Array.of(5))]);
  assertEquals(await open([2, 3, 4], { labels }), [[2, 3, 4]]);
  const any = { ...spec([]), unranked: true };
  const set = await openNpy(file, "a.npy", { inputs: [any] });
  assertEquals((await collect(set)).map(({ inputs }) => inputs.x.dims), [[3, 4], [3, 4]]);
  // Along another axis only where that is free, or said so.
  await assertRejects(() => open([3, 9, 4]), AttuneError, "must be 9×4");
  assertEquals(await open([3, "B", 4]), [[3, 4], [3, 4]]);
  const [said] = withBatchAxis([spec([3, 9, 4])], 1);
  assertEquals((await collect(await openNpy(file, "a.npy", { inputs: [said] }))).length, 2);
});

Deno.test("a batch axis holds for all inputs that have the same dimension", () => {
  const inputs = [
    spec(["T", "B", 4]),
    spec([2, "B", 8], "float32", "h"),
    spec(["B"], "int64", "lengths"),
    spec([], "float32", "threshold"),
  ];
  const axes = withBatchAxis(inputs, 1).map(({ batchAxis }) => batchAxis);
  assertEquals(axes, [1, 1, 0, undefined]);
  const named = withBatchAxis(inputs, { h: 0 }).map(({ batchAxis }) => batchAxis);
  assertEquals(named, [undefined, 0, undefined, undefined]);
  assertThrows(() => withBatchAxis(inputs, 3), AttuneError, `Cannot take axis 3 of input "x"`);
  assertThrows(() => withBatchAxis(inputs, { z: 0 }), AttuneError, `input "z"`);
});

Deno.test("arrays that do not fit the model say what it wants and what they have", async () => {
  const file = new Blob([fixture("c_order.npy")]);
  const open = (input: InputSpec) => openNpy(file, "grid.npy", { inputs: [input] });
  const shape = await assertRejects(() => open(spec(["N", 3, 5])), AttuneError);
  assertEquals(
    shape.message,
    `Cannot feed "grid.npy": the model wants N×3×5 float32 at input "x", the array has 2×3×4; ` +
      `the first axis counts the samples, the others must be 3×5 (or N×3×5 for a whole input)`,
  );
  await assertRejects(() => open(spec(["N", 3])), AttuneError, "must be 3");
  await assertRejects(() => open(spec(["N", 3, 4], "uint8")), AttuneError, "save it as uint8");
  await assertRejects(() => open(spec(["N", 3, 4], "float16")), AttuneError, "save it as float16");
  const two = { inputs: [spec(["N", 3, 4]), spec(["N", 1], "float32", "y")] };
  await assertRejects(() => openNpy(file, "grid.npy", two), AttuneError, "has 2 inputs");
  const zip = new Blob([fixture("labelled.npz")]);
  await assertRejects(() => openNpz(zip, "a.npz", two), AttuneError, `at input "y"`);
});

Deno.test("integers that do not fit the model's type are refused", async () => {
  const bytes = npy(
    "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 1), }",
    Uint8Array.of(0, 1),
  );
  const set = await openNpy(new Blob([bytes]), "i.npy", { inputs: [spec(["N", 1], "uint8")] });
  await assertRejects(() => collect(set), AttuneError, "256 at element 0 does not fit uint8");
});

Deno.test("labels of arrays must be one integer per sample", async () => {
  const file = new Blob([fixture("c_order.npy")]);
  const header = (type: string, count: number) =>
    `{'descr': '${type}', 'fortran_order': False, 'shape': (${count},), }`;
  const open = (labels: Uint8Array<ArrayBuffer>) =>
    openNpy(file, "grid.npy", { inputs: [spec(["N", 3, 4])], labels: new Blob([labels]) });
  const good = await open(npy(header("|u1", 2), Uint8Array.of(5, 6)));
  assertEquals((await collect(good)).map((sample) => sample.label), [5, 6]);
  await assertRejects(
    () => open(npy(header("|u1", 3), Uint8Array.of(5, 6, 7))),
    AttuneError,
    "3 labels",
  );
  await assertRejects(
    () => open(npy(header("|i1", 2), Uint8Array.of(5, 255))),
    AttuneError,
    "integer",
  );
  await assertRejects(() => open(npy(header("<f2", 2), new Uint8Array(4))), AttuneError, "integer");
});

Deno.test("float16 conversion agrees with the platform over all bits", {
  ignore: !("getFloat16" in DataView.prototype),
}, () => {
  const view = new DataView(new ArrayBuffer(2)) as DataView & { getFloat16(at: number): number };
  for (let bits = 0; bits < 65536; bits++) {
    view.setUint16(0, bits);
    const expected = view.getFloat16(0);
    if (Number.isNaN(expected)) assertEquals(float16ToNumber(bits), NaN);
    else assertAlmostEquals(float16ToNumber(bits), expected, 0);
  }
});
