/** Nested grids: levels whose high bits are levels, and the files that are cut from them. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { decodeCheckpoint, encodeCheckpoint } from "../src/calibrate/checkpoint.ts";
import { cut } from "../src/emit/narrow.ts";
import { NESTED_KEY } from "../src/emit/nested.ts";
import { AttuneError } from "../src/errors.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { makeNode, type Model, parseModel, serializeModel } from "../src/onnx/model.ts";
import { DataType, floatTensor } from "../src/onnx/tensor.ts";
import { cutLevel } from "../src/weights/grid.ts";
import { levelWindows } from "../src/weights/levels.ts";
import { plan, type PlanOptions } from "../mod.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { solveNested } from "../src/round/nested.ts";
import type { Problem } from "../src/round/problem.ts";
import { solveLayer } from "../src/round/solve.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";
import { random, spd } from "./helpers/kernel_twins.ts";
import { finish } from "../src/round/work.ts";

const WIDTHS = [8, 6, 4, 3];

Deno.test("cutLevel: the nearest level of fewer bits, half to even, within its range", () => {
  for (const to of [8, 6, 4, 3, 2]) {
    const step = 2 ** (8 - to), half = 2 ** (to - 1);
    for (let level = -128; level < 128; level++) {
      const found = cutLevel(level, 8, to);
      assert(Number.isInteger(found) && found >= -half && found < half, `${level} to ${to}`);
      // Beyond the largest level there is none that is nearer.
      if (found < half - 1) {
        const off = Math.abs(level / step - found);
        assert(off < 0.5 || (off === 0.5 && found % 2 === 0), `${level} to ${to}: ${found}`);
      }
    }
  }
});

/**
 * The problem of some rows whose inputs are correlated, seen a little differently by each width.
 */
function problem(
  groups: number,
  rows: number,
  depth: number,
  more: Partial<Problem> = {},
): Problem {
  const weight = random(groups * rows * depth, 5);
  const gram = (seed: number) => spd(groups, depth, seed).h;
  return {
    groups,
    rows,
    depth,
    windows: levelWindows(8, true),
    grid: { kind: "uniform" },
    groupSize: depth,
    oneScale: false,
    weight,
    gram: gram(3),
    gramTile: depth,
    cuts: WIDTHS.slice(1).map((bits) => ({
      bits,
      gram: gram(3).map((h, i) => h * (i % 2 ? 1 : 1.05)),
    })),
    damping: 0.01,
    method: { kind: "attention", candidates: 1 },
    refit: true,
    seed: 1,
    stream: 0,
    ...more,
  };
}

Deno.test("solveNested: every width is near what rounding for it alone gives, far from a naive cut", () => {
  using kernel = Kernel.create();
  for (const more of [{}, { oneScale: true }, { groupSize: 12 }]) {
    const nested = problem(1, 12, 48, more), { cuts = [], ...plain } = nested;
    const found = finish(solveNested(kernel, nested)), wide = finish(solveLayer(kernel, plain));
    assert(found.error.final < 1e-3 * found.power, `${found.error.final} of ${found.power}`);
    cuts.forEach(({ bits, gram }, c) => {
      const own = { ...plain, gram, windows: levelWindows(bits, true) };
      const alone = finish(solveLayer(kernel, own)), cut = found.cuts![c];
      // The loss of the ordinary 8-bit rounding's high bits, as a problem of fixed levels.
      const levels = wide.levels.map((level) => cutLevel(level, 8, bits));
      const scales = wide.scales.map((s) => s * 2 ** (8 - bits));
      const naive = lossOf(own, levels, scales);
      const what = `${bits} bits ${
        JSON.stringify(more)
      }: ${cut.error.final}, ${alone.error.final}, ${naive}`;
      assertEquals(cut.bits, bits);
      assert(cut.error.final < 3 * alone.error.final, what);
      assert(bits > 4 || cut.error.final < 0.6 * naive, what);
      // What it says is what its levels and scales lose.
      const tied = found.scales.map((s) => s * 2 ** (8 - bits));
      const exact = lossOf(own, found.levels.map((level) => cutLevel(level, 8, bits)), tied);
      // Damping is small, but not nothing.
      assert(Math.abs(exact - cut.error.final) < 0.1 * exact, `${exact}, ${cut.error.final}`);
    });
  }
});

/** Σ (ŵ − w) H (ŵ − w)ᵀ. */
function lossOf(
  { rows, depth, weight, gram, groupSize }: Problem,
  levels: Int8Array,
  scales: Float32Array,
) {
  const blocks = Math.ceil(depth / groupSize);
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const error = Float64Array.from({ length: depth }, (_, i) => {
      const s = scales[scales.length === 1 ? 0 : row * blocks + Math.floor(i / groupSize)];
      return s * levels[row * depth + i] - weight[row * depth + i];
    });
    for (let i = 0; i < depth; i++) {
      for (let j = 0; j < depth; j++) sum += error[i] * gram[i * depth + j] * error[j];
    }
  }
  return sum;
}

Deno.test("solveNested: rows and groups do not depend on one another", () => {
  using kernel = Kernel.create();
  const whole = problem(4, 2, 17), found = finish(solveNested(kernel, whole));
  const share = (matrix: Float32Array, size: number) => matrix.slice(2 * size, 3 * size);
  const part = finish(solveNested(kernel, {
    ...whole,
    groups: 1,
    weight: share(whole.weight, 34),
    gram: share(whole.gram, 289),
    cuts: whole.cuts!.map((cut) => ({ ...cut, gram: share(cut.gram, 289) })),
    stream: 4,
  }));
  assertEquals(part.levels, found.levels.slice(68, 102));
  assertEquals(part.scales, found.scales.slice(4, 6));
});

/** Convolutions with and without groups, a dense layer, and edges before and behind them. */
function model(): Model {
  return build({
    opset: 13,
    inputs: { x: ["N", 4, 8, 8] },
    nodes: [
      makeNode("Conv", "first", ["x", "first_w"], ["a"]),
      makeNode("Relu", "relu", ["a"], ["b"]),
      makeNode("Conv", "wide", ["b", "wide_w", "wide_b"], ["c"]),
      makeNode("Relu", "relu2", ["c"], ["d"]),
      makeNode("Conv", "deep", ["d", "deep_w"], ["e"], { group: 6n }),
      makeNode("Flatten", "flat", ["e"], ["f"]),
      makeNode("MatMul", "dense", ["f", "dense_w"], ["g"]),
      makeNode("Relu", "relu3", ["g"], ["h"]),
      makeNode("Gemm", "last", ["h", "last_w"], ["y"]),
    ],
    initializers: [
      floatTensor("first_w", [8, 4, 3, 3], noise(288, 3)),
      floatTensor("wide_w", [6, 8, 3, 3], noise(432, 4)),
      floatTensor("wide_b", [6], noise(6, 5)),
      floatTensor("deep_w", [6, 1, 3, 3], noise(54, 6)),
      floatTensor("dense_w", [24, 10], noise(240, 7)),
      floatTensor("last_w", [10, 5], noise(50, 8)),
    ],
    outputs: ["y"],
  });
}

async function* samples() {
  for (let i = 0; i < 48; i++) {
    const data = noise(256, i + 1).map((x, j) => x + Math.sin(i + j % 7));
    yield { inputs: { x: { dims: [4, 8, 8], data } }, source: `noise ${i}` };
  }
}

async function quantized(options: PlanOptions) {
  using pool = inlinePool(await loadBackend("web"));
  const made = plan(model(), { nested: WIDTHS, ...options });
  return await quantize(made, samples(), pool);
}

/** Σ (a − b)² / Σ b² of what two models give for fresh samples. */
async function distance(a: Model, b: Model): Promise<number> {
  const data = noise(16 * 256, 1000).map((x, j) => x + Math.sin(Math.floor(j / 256) + j % 7));
  const x = value([16, 4, 8, 8], data);
  const [left, right] = [await runModel(a, { x }), await runModel(b, { x })]
    .map(({ y }) => y.data as Float32Array);
  const squares = (values: Float32Array) => values.reduce((sum, each) => sum + each * each, 0);
  return squares(left.map((each, j) => each - right[j])) / squares(right);
}

Deno.test("a nested plan: edges are not cut below their width, overrides are not nested", () => {
  const grids = (options: PlanOptions) =>
    plan(model(), { nested: WIDTHS, ...options }).layers.map(({ grid, bits }) =>
      grid.kind === "nested" ? grid.widths.join("/") : bits
    );
  assertEquals(grids({}), [8, "8/6/4/3", "8/6/4/3", "8/6/4/3", 8]);
  assertEquals(grids({ edgeBits: 6, overrides: [{ pattern: "deep", bits: 4 }] }), [
    "8/6",
    "8/6/4/3",
    4,
    "8/6/4/3",
    "8/6",
  ]);
  for (const nested of [[8], [4, 6], [8, 8], [9, 4], [8, 1]]) {
    const error = assertThrows(() => plan(model(), { nested }), AttuneError);
    assertEquals(error.code, "bad-option");
  }
  assertThrows(() => plan(model(), { nested: WIDTHS, bits: 8 }), AttuneError, "leave bits out");
});

for (
  const options of [
    { activationBits: "none" },
    { activationBits: 8 },
    { activationBits: "none", granularity: { kind: "group", size: 8 } },
    { activationBits: 8, granularity: { kind: "tensor" } },
    { activationBits: "none", nested: [4, 3] },
    { activationBits: "none", format: "packed" },
    { activationBits: 8, format: "packed" },
    {
      activationBits: "none",
      format: "packed",
      nested: [6, 3],
      granularity: { kind: "group", size: 8 },
    },
  ] satisfies PlanOptions[]
) {
  const what = JSON.stringify(options);
  Deno.test(`a nested file is cut to each width, and each is near the float model: ${what}`, async () => {
    const { model: whole, report } = await quantized(options);
    assert(report.check!.mseToSimulation < 1e-4, `${report.check!.mseToSimulation}`);
    // Read as a user's file is.
    const file = parseModel(serializeModel(whole)),
      bytes = (model: Model) => serializeModel(model).length;
    let before = await distance(file, model());
    const { nested = WIDTHS, format = "qdq" } = options as PlanOptions;
    assert(before < { 8: 0.005, 6: 0.005, 4: 0.05 }[nested[0]]!, `${before}`);
    for (const bits of nested.slice(1)) {
      const small = cut(file, bits), error = await distance(small, model());
      assert(error < 3 * 4 ** (4 - bits) * 0.02 + 0.005, `${bits} bits: ${error}`);
      // Up to what 8-bit activations hide.
      assert(error > 0.8 * before, `${bits} bits: ${error} after ${before}`);
      before = error;
      assertThrows(() => cut(small, bits), AttuneError, "no nested levels");
      if (format === "packed") {
        assertThrows(() => cut(file, bits, { format: "qdq" }), AttuneError, "it is packed");
        continue;
      }
      assert(bytes(small) < bytes(file) || nested[0] === 4);
      const stored = small.proto.graph.initializer.find((t) => t.name === "deep_w_quantized")!;
      assertEquals(stored.dataType, bits <= 4 ? DataType.INT4 : DataType.INT8);
      const packed = cut(file, bits, { format: "packed" });
      assert(await distance(packed, small) < 1e-10, `${bits} bits, packed`);
    }
  });
}

Deno.test("what is cut to packed takes as many bits as it has", async () => {
  const wide = (width: number) =>
    build({
      opset: 13,
      inputs: { x: ["N", 64] },
      nodes: ["a", "b", "c"].map((name, i) =>
        makeNode("MatMul", name, [i === 0 ? "x" : `${i}`, `${name}_w`], [`${i + 1}`])
      ),
      initializers: [
        floatTensor("a_w", [64, width], noise(64 * width, 1)),
        floatTensor("b_w", [width, width], noise(width * width, 2)),
        floatTensor("c_w", [width, 4], noise(4 * width, 3)),
      ],
      outputs: ["3"],
    });
  using pool = inlinePool(await loadBackend("web"));
  async function* rows() {
    for (let i = 0; i < 32; i++) {
      yield { inputs: { x: { dims: [64], data: noise(64, i + 1) } }, source: `noise ${i}` };
    }
  }
  const made = plan(wide(128), { nested: [8, 3], activationBits: "none", format: "packed" });
  const { model: file } = await quantize(made, rows(), pool);
  const saved = serializeModel(file).length - serializeModel(cut(file, 3)).length;
  // Five bits of each weight of the middle, less the nodes that unpack.
  assert(saved > 128 * 128 * 5 / 8 - 3000, `${saved} bytes`);
});

Deno.test("biases of the widths are their own, and better than those of the widest", async () => {
  const { model: whole } = await quantized({ activationBits: "none" });
  const small = cut(whole, 3);
  const entry = whole.proto.metadataProps.find(({ key }) => key === NESTED_KEY)!;
  const nested = JSON.parse(entry.value);
  for (const layer of nested.layers) layer.biases = {};
  const other = parseModel(serializeModel(whole));
  other.proto.metadataProps.find(({ key }) => key === NESTED_KEY)!.value = JSON.stringify(nested);
  const own = await distance(small, model()), widest = await distance(cut(other, 3), model());
  assert(own < widest, `${own}, ${widest}`);
});

Deno.test("what cannot be cut is refused, by name", async () => {
  const { model: whole } = await quantized({ activationBits: "none" });
  assertEquals(assertThrows(() => cut(whole, 5), AttuneError, "6, 4, 3").code, "bad-option");
  assertThrows(() => cut(whole, 8), AttuneError, "6, 4, 3");
  const error = assertThrows(() => cut(model(), 4), AttuneError, "it holds no nested levels");
  assertEquals(error.code, "bad-model");
  assertEquals(error.remedies, [{ option: "nested", value: [8, 6, 4, 3] }]);
  const damage = (change: (copy: Model) => void) => {
    const copy = parseModel(serializeModel(whole), { name: "damaged.onnx" });
    change(copy);
    const error = assertThrows(() => cut(copy, 4), AttuneError, "damaged.onnx");
    assertEquals(error.code, "bad-model");
  };
  const entry = ({ proto }: Model) => proto.metadataProps.find(({ key }) => key === NESTED_KEY)!;
  damage((copy) => entry(copy).value = "{");
  damage((copy) => entry(copy).value = "null");
  damage((copy) => entry(copy).value = `{"format":"qdq","widths":[6,4],"layers":[{"weight":1}]}`);
  damage((copy) => entry(copy).value = entry(copy).value.replace("deep_w", "gone_w"));
  damage((copy) => entry(copy).value = entry(copy).value.replace(/("biases":\{"3":")/, "$1!"));
  damage((copy) => {
    const levels = copy.proto.graph.initializer.find((t) => t.name === "deep_w_quantized")!;
    levels.rawData = levels.rawData.slice(1);
  });
});

Deno.test("nested grids go with attention rounding alone; a checkpoint keeps what belongs to them", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const made = plan(model(), { nested: [8, 4] });
  const refused = async (options: Parameters<typeof quantize>[3]) => {
    const error = await assertRejects(() => quantize(made, samples(), pool, options), AttuneError);
    assertEquals(error.code, "bad-option");
  };
  await refused({ rounding: { kind: "nearest" } });
  await refused({ reconstruction: { kind: "blocks" } });
  const floats = (size: number) => noise(size, size);
  const layer = {
    rounding: {
      levels: Int8Array.of(1, -2),
      scales: floats(1),
      lows: Int8Array.of(-4),
      bias: floats(2),
      cuts: [{ width: 4, bias: floats(4) }, {
        width: 3,

        bias: undefined,
      }],
    },
    error: { nearest: 2, final: 1 },
  };
  const state = {
    segments: 1,
    layers: new Map([["one", layer]]),
    grids: new Map(),
    warnings: [],
    blocks: [],
  };
  assertEquals(await decodeCheckpoint("f", await encodeCheckpoint({}, state), {}), state);
});
