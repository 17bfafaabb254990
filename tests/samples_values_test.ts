/** Whatever callers have at hand becomes samples, or is refused with a sentence. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import * as ort from "onnxruntime-web/wasm";
import { join } from "node:path";
import { AttuneError } from "../src/errors.ts";
import { evaluate } from "../src/evaluate/evaluate.ts";
import { readModel } from "../src/onnx/file.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { float16ToNumber, numberToFloat16 } from "../src/samples/convert.ts";
import { openJsonLines } from "../src/samples/json_lines.ts";
import { openSamples } from "../src/samples/open.ts";
import type { Sample } from "../src/samples/sample.ts";
import { type SampleLike, type SampleSource, toSample } from "../src/samples/to_sample.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { root } from "./helpers/command_line.ts";

const x: InputSpec = { name: "x", dims: ["N", 2, 2], type: "float32" };
const ids: InputSpec = { name: "ids", dims: ["N", "T"], type: "int64" };
const four = Float32Array.of(1, 2, 3, 4);
const whole: Sample = {
  inputs: { x: { dims: [2, 2], data: four } },
  label: 3,
  source: "samples[5]",
};

/** `value` as the sixth sample. */
const make = (value: unknown, ...inputs: InputSpec[]) => toSample(value, inputs, "samples[5]");

Deno.test("every form of a sample comes to the same", () => {
  const forms: SampleLike[] = [
    whole,
    { inputs: { x: four }, label: 3 },
    { inputs: { x: [[1, 2], [3, 4]] }, label: 3 },
    { x: { dims: [2, 2], data: four }, label: 3 },
    { x: { dims: [2, 2], data: [1, 2, 3, 4] }, label: 3 },
    { x: four, label: 3 },
    { x: Float64Array.of(1, 2, 3, 4), label: 3 },
    { x: [[1, 2], [3, 4]], label: 3 },
    { x: new ort.Tensor("float32", four, [2, 2]), label: 3 },
  ];
  for (const form of forms) assertEquals(make(form, x), whole);
  // Without a label, and a name.
  const { label: _, ...unlabelled } = whole;
  const single: SampleLike[] = [
    four,
    [[1, 2], [3, 4]],
    { dims: [2, 2], data: four },
    new ort.Tensor(four, [2, 2]),
  ];
  for (const form of single) assertEquals(make(form, x), unlabelled);
  assertEquals(make({ ...whole, source: "mine" }, x).source, "mine");
});

Deno.test("elements that are right already are not copied", () => {
  assert(make(whole, x).inputs.x.data === four);
  assert(make({ x: four }, x).inputs.x.data === four);
});

Deno.test("shapes of typed arrays follow from the model where one axis is open at most", () => {
  const dims = (length: number, spec: Partial<InputSpec>) =>
    make(new Float32Array(length), { ...x, ...spec }).inputs.x.dims;
  assertEquals(dims(12, { dims: [1, 3, 2, 2] }), [3, 2, 2]);
  assertEquals(dims(12, { dims: ["N", "T", 4] }), [3, 4]);
  assertEquals(dims(1, { dims: ["N"] }), []);
  assertEquals(dims(1, { dims: [] }), []);
  assertEquals(dims(8, { dims: [4, 2] }), [4, 2]);
  assertEquals(dims(2, { dims: [4, 2] }), [2]);
  assertEquals(dims(6, { dims: [3, "N", 2], batchAxis: 1 }), [3, 2]);
  for (const [length, shape] of [[8, ["N", 2, 2]], [12, ["N", "C", "T"]], [0, []]] as const) {
    const message = `${length} elements without a shape; give them as { dims, data }`;
    assertThrows(() => dims(length, { dims: shape }), AttuneError, message);
  }
  assertThrows(() => dims(4, { dims: [], unranked: true }), AttuneError, "without a shape");
});

Deno.test("numbers are cast to the type that the model wants, if they fit", () => {
  const cast = (type: InputSpec["type"], ...values: unknown[]) => {
    const spec: InputSpec = { name: "x", dims: ["N", "T"], type };
    return make({ x: values }, spec).inputs.x.data;
  };
  assertEquals(cast("int64", -7, 2 ** 53 - 1, 8n), BigInt64Array.of(-7n, 2n ** 53n - 1n, 8n));
  assertEquals(cast("uint64", 2n ** 64n - 1n), BigUint64Array.of(2n ** 64n - 1n));
  assertEquals(cast("int8", -128, true), Int8Array.of(-128, 1));
  assertEquals(cast("bool", true, 0, false, 1), Uint8Array.of(1, 0, 0, 1));
  assertEquals(cast("float32", 0.1, 3n), Float32Array.of(0.1, 3));
  assertEquals(cast("float16", 1, -0.5), Uint16Array.of(0x3c00, 0xb800));
  const refused: [InputSpec["type"], unknown, string][] = [
    ["int64", 2 ** 53, 'element 0 of input "x" is 9007199254740992, which is no int64'],
    ["int64", 0.5, "is 0.5, which is no int64"],
    ["int64", 2n ** 63n, "which is no int64"],
    ["uint8", 256, "is 256, which is no uint8"],
    ["uint8", -1, "is -1, which is no uint8"],
    ["bool", 2, "is 2, which is no bool"],
    ["float32", "1", "is 1, which is no float32"],
    ["float32", null, "is null, which is no float32"],
    ["float32", {}, "is {}, which is no float32"],
    ["float32", 1e39, "is Infinity; leave the sample out"],
    ["float16", 1e6, "is not finite"],
  ];
  for (const [type, value, message] of refused) {
    assertThrows(() => cast(type, value), AttuneError, message);
  }
});

Deno.test("typed arrays of another type are converted as the readers do it", () => {
  assertEquals(
    make({ ids: Int32Array.of(1, -2) }, ids).inputs.ids.data,
    BigInt64Array.of(1n, -2n),
  );
  const half: InputSpec = { ...x, type: "float16" };
  const bits = Uint16Array.of(0x3c00, 0, 0, 0);
  assertEquals(make({ x: bits }, half).inputs.x.data, bits);
  const tensor = new ort.Tensor("uint16", bits, [2, 2]);
  assertThrows(() => make(tensor, half), AttuneError, "the sample has uint16; give it as float16");
  assertThrows(() => make({ x: Uint8Array.of(1, 2, 3, 4) }, x), AttuneError, "Uint8Array of 4");
  const small: InputSpec = { ...ids, type: "int8" };
  assertThrows(() => make({ ids: Int32Array.of(300) }, small), AttuneError, "does not fit int8");
});

Deno.test("an input may be called as a field of a sample is", () => {
  const spec: InputSpec = { name: "inputs", dims: ["N", 2], type: "float32" };
  for (const value of [{ inputs: [1, 2] }, { inputs: { inputs: [1, 2] } }]) {
    assertEquals(make(value, spec).inputs.inputs.dims, [2]);
  }
  const label: InputSpec = { name: "label", dims: ["N"], type: "int64" };
  const named = make({ ids: [1], label: 4 }, ids, label);
  assertEquals([named.label, named.inputs.label.data], [undefined, BigInt64Array.of(4n)]);
  const both = make({ inputs: { ids: [1], label: 4 }, label: 9 }, ids, label);
  assertEquals([both.label, both.inputs.label.data], [9, BigInt64Array.of(4n)]);
});

Deno.test("what is no sample says what it is", () => {
  const refused: [unknown, InputSpec[], string][] = [
    [undefined, [x], `Cannot use sample "samples[5]": it is undefined; give tensors by the names`],
    ["text", [x], `it is "text"`],
    [four, [x, ids], `it is one tensor, the model has 2 inputs ("x", "ids"); give tensors by name`],
    [{ y: four }, [x], `the model has no input "y", name it one of "x"`],
    [{}, [x], "the sample has none; add it"],
    [{ x: undefined }, [x], "the sample has undefined; give numbers"],
    [{ x: { width: 2 } }, [x], "the sample has an object of width; give numbers"],
    [{ x: [[1, 2], [3]] }, [x], "lists that do not make up 2×2; give lists of the same length"],
    [{ x: [[1, 2], 3] }, [x], "lists that do not make up 2×2"],
    [{ x: [1, [2]] }, [x], "lists that do not make up 2"],
    [{ x: [1, 2] }, [x], "the sample has 2; give it the shape 2×2 (or N×2×2 for a whole input)"],
    [{ x: { dims: [2, -2], data: four } }, [x], "the shape 2×-2; give whole numbers"],
    [{ x: { dims: [2, 2], data: 4 } }, [x], "the sample has 4; give a typed array as data"],
    [{ x: { dims: [2, 2], data: four.subarray(1) } }, [x], "has a Float32Array of 3 elements"],
    [{ x: four, label: -1 }, [x], "its label is -1; give a whole number from 0"],
    [{ x: four, label: "cat" }, [x], `its label is "cat"`],
    [{ ...whole, label: 0.5 }, [x], "its label is 0.5"],
    [{ x: [[1, NaN], [3, 4]] }, [x], `element 1 of input "x" is NaN; leave the sample out`],
  ];
  for (const [value, inputs, message] of refused) {
    const error = assertThrows(() => make(value, ...inputs), AttuneError, message);
    assertEquals(error.code, "bad-data");
  }
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  assertThrows(() => make({ x: deep }, x), AttuneError, "more than 32 lists");
});

Deno.test("numberToFloat16 is the platform's, ties and subnormals too", () => {
  for (let bits = 0; bits < 0x7c00; bits++) {
    const [value, next] = [float16ToNumber(bits), float16ToNumber(bits + 1)];
    assertEquals([numberToFloat16(value), numberToFloat16(-value)], [bits, bits | 0x8000]);
    const between = Number.isFinite(next) ? next : 65536, middle = (value + between) / 2;
    assertEquals(numberToFloat16(middle), bits + bits % 2, `${middle}`);
    assertEquals(numberToFloat16((value + middle) / 2), bits);
    assertEquals(numberToFloat16((middle + between) / 2), bits + 1);
  }
  assertEquals(numberToFloat16(NaN), 0x7e00);
});

/** All samples of lines of JSON. */
async function readLines(text: string, inputs: InputSpec[], options = {}): Promise<Sample[]> {
  const set = await openJsonLines(new Blob([text]), "l.jsonl", { inputs, ...options });
  return await Array.fromAsync(set.samples());
}

Deno.test("lines of JSON are samples, one by one", async () => {
  const text =
    '\uFEFF{"ids": [1, 2], "label": 3}\r\n\n  \n{"inputs": {"ids": []}, "source": "x"}\n[5]';
  const samples = await readLines(text, [ids]);
  assertEquals(samples.map(({ source, label, inputs }) => [source, label, inputs.ids]), [
    ["l.jsonl:1", 3, { dims: [2], data: BigInt64Array.of(1n, 2n) }],
    ["l.jsonl:4", undefined, { dims: [0], data: new BigInt64Array() }],
    ["l.jsonl:5", undefined, { dims: [1], data: BigInt64Array.of(5n) }],
  ]);
  const many = Array.from({ length: 50 }, (_, i) => `[${i}]`).join("\n");
  const chosen = await readLines(many, [ids], { limit: 5, seed: 1 });
  assertEquals(chosen.length, 5);
  assertEquals(
    chosen.map(({ source, inputs }) => [source, inputs.ids.data[0]]).every(
      ([source, id]) => source === `l.jsonl:${Number(id) + 1}`,
    ),
    true,
  );
});

Deno.test("lines that are no samples are refused by their numbers", async () => {
  const refused: [string, string][] = [
    ["", `"l.jsonl": it has no line`],
    ["\n \n", "it has no line"],
    ["[1]\n{", `Cannot read "l.jsonl:2": the line is no JSON`],
    ["[1]\n\n[0.5]", `"l.jsonl:3": element 0 of input "ids" is 0.5`],
    ['{"id": [1]}', `Cannot use sample "l.jsonl:1": the model has no input "id"`],
    ["null", `"l.jsonl:1": it is null`],
    ['{"ids": "12"}', `the sample has "12"; give numbers`],
    ['{"__proto__": [1]}', `no input "__proto__"`],
  ];
  for (const [text, message] of refused) {
    const error = await assertRejects(() => readLines(text, [ids]), AttuneError, message);
    assertEquals(error.code, "bad-data");
  }
  await assertRejects(
    () => readLines("[1]", [ids], { labels: new Blob() }),
    AttuneError,
    `give each line its "label"`,
  );
  const signal = AbortSignal.abort();
  await assertRejects(() => readLines("[1]", [ids], { signal }), AttuneError, "Stopped");
});

Deno.test("a job takes lists of plain things, and checks each of them", async () => {
  const model = readModel(join(root, "examples/shapes/shapes.onnx"));
  const plan = makePlan(model, { bits: 8, activationBits: "none" });
  using pool = inlinePool(await loadBackend("web"));
  const set = await openSamples(join(root, "examples/shapes/val"), {
    inputs: plan.inputs,
    limit: 20,
  });
  const read = await Array.fromAsync(set.samples());
  const plain = read.map(({ inputs, label }) => ({
    image: inputs.image.data as Float32Array,
    label: label!,
  }));
  const expected = await evaluate(model, model, set.samples(), pool);
  assertEquals(expected.samples, 20);
  assertEquals(await evaluate(model, model, plain, pool), expected);
  const tensors = plain.map(({ image }) => new ort.Tensor(image, [3, 32, 32]));
  const { report } = await quantize(plan, tensors, pool);
  assertEquals(report.layers.length, 10);
  const broken = plain.with(17, { image: new Float32Array(3072).fill(NaN), label: 1 });
  for (
    const job of [
      () => evaluate(model, model, broken, pool),
      () => quantize(plan, broken, pool),
    ]
  ) {
    await assertRejects(
      job,
      AttuneError,
      `sample "samples[17]": element 0 of input "image" is NaN`,
    );
  }
  for (
    const [source, is] of [
      [set, "an object of count"],
      [new Float32Array(4), "a Float32Array"],
      [undefined, "undefined"],
      ["folder", `"folder"`],
    ]
  ) {
    const job = () => evaluate(model, model, source as SampleSource, pool);
    await assertRejects(job, AttuneError, `Cannot read samples from ${is}`);
  }
});
