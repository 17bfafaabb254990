/** All outputs of a model, each by what suits it, and figures of the user's own. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertMatch } from "std/assert/match.js";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { evaluate, type ModelEvaluation } from "../src/evaluate/evaluate.ts";
import { wilson } from "../src/evaluate/interval.ts";
import { type Metric, MetricComparison } from "../src/evaluate/metric.ts";
import { kindOf, OutputComparison } from "../src/evaluate/output_comparison.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";
import { build, noise } from "./helpers/models.ts";

const backend = await loadBackend("web");

/** Scores x·w, a map of both, and the place of the largest score. */
function threeOutputs(w: Float32Array): Model {
  return build({
    opset: 17,
    inputs: { x: ["N", 4] },
    nodes: [
      makeNode("MatMul", "scores", ["x", "w"], ["scores"]),
      makeNode("Unsqueeze", "map", ["scores", "axes"], ["map"]),
      makeNode("ArgMax", "class", ["scores"], ["class"], { axis: 1n, keepdims: 0n }),
    ],
    initializers: [floatTensor("w", [4, 3], w), axesTensor()],
    outputs: ["scores", "map", "class"],
  });
}

function axesTensor() {
  return { ...floatTensor("axes", [1], Float32Array.of(0)), dataType: 7, rawData: bytesOf(2n) };
}

const bytesOf = (value: bigint) => new Uint8Array(BigInt64Array.of(value).buffer);

const rows = Array.from({ length: 40 }, (_, i) => noise(4, i + 1));
const weights = noise(12, 99);
/** The same with every weight a little off. */
const off = weights.map((w, i) => w + (i % 2 ? 0.2 : -0.2));

async function evaluated(metric?: Metric): Promise<ModelEvaluation> {
  using pool = inlinePool(backend);
  const source = rows.map((data) => ({ x: { dims: [4], data } }));
  return await evaluate(threeOutputs(off), threeOutputs(weights), source, pool, { metric });
}

/** Row `row` times `w`, in float64. */
function scoresOf(row: Float32Array, w: Float32Array): number[] {
  return [0, 1, 2].map((c) => row.reduce((sum, x, i) => sum + x * w[i * 3 + c], 0));
}

const best = (scores: readonly number[]) => scores.indexOf(Math.max(...scores));

Deno.test("each output is told by what suits it", async () => {
  const { outputs, mse } = await evaluated();
  assertEquals(outputs.map(({ name, kind, samples }) => [name, kind, samples]), [
    ["scores", "scores", 40],
    ["map", "values", 40],
    ["class", "integers", 40],
  ]);
  const [scores, map, classes] = outputs;
  if (scores.kind !== "scores" || map.kind !== "values" || classes.kind !== "integers") {
    throw new Error("told above");
  }
  const pairs = rows.map((row) => [scoresOf(row, off), scoresOf(row, weights)]);
  const same = pairs.filter(([q, r]) => best(q) === best(r)).length;
  assert(same > 20 && same < 40);
  assertAlmostEquals(scores.agreement, 100 * same / 40);
  assertAlmostEquals(classes.equal, 100 * same / 40);
  const squares = (values: readonly number[]) => values.reduce((sum, v) => sum + v * v, 0);
  const error = pairs.reduce((sum, [q, r]) => sum + squares(q.map((v, i) => v - r[i])), 0);
  const power = pairs.reduce((sum, [, r]) => sum + squares(r), 0);
  for (const value of [mse, scores.mse, map.mse]) assertAlmostEquals(value, error / power, 1e-6);
  assertAlmostEquals(map.sqnr!, -10 * Math.log10(error / power), 1e-4);
  const cosines = pairs.map(([q, r]) =>
    q.reduce((sum, v, i) => sum + v * r[i], 0) / Math.sqrt(squares(q) * squares(r))
  );
  assertAlmostEquals(map.cosine.least, Math.min(...cosines), 1e-5);
});

Deno.test("a metric hears of every sample of both models, with shapes and labels", async () => {
  const seen: string[] = [];
  const { metric } = await evaluated({
    kind: "mean",
    name: "top score",
    score({ scores, map, class: found }, { source }) {
      seen.push(source);
      assertEquals([scores.dims, map.dims, found.dims], [[3], [3, 1], []]);
      return Math.max(...Array.from(scores.data, Number));
    },
  });
  const mean = (w: Float32Array) =>
    rows.reduce((sum, row) => sum + Math.max(...scoresOf(row, w)), 0) / rows.length;
  assertAlmostEquals(metric!.model, mean(off), 1e-5);
  assertAlmostEquals(metric!.reference, mean(weights), 1e-5);
  const [low, high] = metric!.change!;
  assert(low <= mean(off) - mean(weights) && mean(off) - mean(weights) <= high);
  assertEquals(seen.length, 2 * rows.length);
});

Deno.test("a metric of the whole counts the two models apart", () => {
  const comparison = new MetricComparison({
    kind: "whole",
    name: "largest",
    start() {
      let most = -Infinity;
      return {
        add: ({ y }) => void (most = Math.max(most, Number(y.data[0]))),
        result: () => most,
      };
    },
  });
  const y = (value: number) => ({ y: { dims: [1], data: Float32Array.of(value) } });
  for (const i of [1, 5, 3]) comparison.add(y(i), y(-i), { inputs: {}, source: "s" });
  assertEquals(comparison.result(), { name: "largest", model: 5, reference: -1, change: null });
});

Deno.test("a share of few samples has a wide interval, also where all agree", () => {
  // Wilson 1927, by hand: 15 of 15 is 1 / (1 + z²/n) at the least.
  assertAlmostEquals(wilson(15, 15)[0], 100 / (1 + 1.959964 ** 2 / 15), 1e-9);
  assertEquals(wilson(15, 15)[1], 100);
  assertEquals(wilson(0, 8)[0], 0);
  assert(wilson(900, 1000)[1] - wilson(900, 1000)[0] < 4);
});

Deno.test("outputs that cannot be compared are none, and kinds follow from types and shapes", () => {
  const output = new OutputComparison("y", "values");
  assertEquals(output.add(Float32Array.of(1, 2), Float32Array.of(1)), false);
  assertEquals(output.add(Float32Array.of(1), Float32Array.of(NaN)), false);
  assertEquals(output.result(), undefined);
  assertEquals(output.add(Float32Array.of(1, -Infinity), Float32Array.of(1, -Infinity)), true);
  const result = output.result();
  assert(result?.kind === "values" && result.mse === 0 && result.sqnr === null);
  assertEquals(kindOf("float32", [8, 10], 10), "scores");
  assertEquals(kindOf("float16", [8, 1], 1), "values");
  assertEquals(kindOf("float32", [1, 3, 4, 4], 48), "values");
  assertEquals(kindOf("int64", [8], 1), "integers");
  // One number for each of a batch, and the boxes of one image.
  assertEquals(kindOf("float32", [8], 1), "values");
  assertEquals(kindOf("float32", [100, 4], 400), "values");
});

const model = join(root, "examples/shapes/shapes.onnx");
const val = ["--data", join(root, "examples/shapes/val"), "--limit", "40", "--threads", "1"];

Deno.test("a result beyond --fail-above exits with 3, once the file is there", () =>
  inFolder(async (folder) => {
    const out = join(folder, "q.onnx"), calib = join(root, "examples/shapes/calib");
    const job = [model, "--data", calib, "--limit", "40", "--threads", "1", "--bits", "2"];
    job.push("--rounding", "nearest", "-o", out);
    const bad = await attune(...job, "--fail-above", "1%", "--json");
    assertEquals(bad.code, 3, bad.stderr);
    assertMatch(bad.stderr, /the output error is \d+(\.\d+)? %, above 1 %/);
    const report = JSON.parse(bad.stdout);
    assertEquals(report.file.after, readFileSync(out).length);
    // Two samples are no ground for a share, but for saying which layers to give more bits.
    assert(report.remedies.length > 0 && report.remedies[0].value.bits === 8);
    const judged = ["evaluate", out, "--reference", model, ...val];
    assertEquals((await attune(...judged, "--fail-above", "0.01")).code, 3);
    assertEquals((await attune(...judged, "--fail-above", "200%")).code, 0);
    for (const odd of ["much", "%"]) {
      const { code, stderr } = await attune(...judged, "--fail-above", odd);
      assertEquals(code, 2);
      assert(stderr.includes(`--fail-above ${odd}: give an output error`), stderr);
    }
  }));

Deno.test("--metric is a module of one's own; what is wrong with it names the file", () =>
  inFolder(async (folder) => {
    const write = (name: string, code: string) => {
      const path = join(folder, name);
      writeFileSync(path, code);
      return path;
    };
    const good = write(
      "margin.ts",
      `export default ({ logits: { data } }: any, { label }: any): number =>
         Number(data[label] === Math.max(...data));`,
    );
    const judged = ["evaluate", model, ...val, "--json", "--metric"];
    const { code, stdout, stderr } = await attune(...judged, good);
    assertEquals(code, 0, stderr);
    const { metric, top1 } = JSON.parse(stdout);
    assertEquals(metric.name, "margin");
    assertAlmostEquals(100 * metric.model, top1);
    const wrong: [name: string, code: string, says: RegExp][] = [
      ["none.ts", "export const x = 1;", /no metric/],
      ["text.ts", `export default () => "a lot";`, /gave a lot, not a number/],
      ["throws.ts", `export default () => { throw new Error("oh no"); };`, /oh no/],
    ];
    for (const [name, code, says] of wrong) {
      const { code: exit, stderr } = await attune(...judged, write(name, code));
      assertEquals(exit, 2, stderr);
      assertMatch(stderr, says);
      assert(stderr.includes(name), stderr);
    }
    const missing = await attune(...judged, join(folder, "nowhere.ts"));
    assertEquals(missing.code, 2, missing.stderr);
  }));

Deno.test("--nested tells what each width comes to, and how to cut it", () =>
  inFolder(async (folder) => {
    const out = join(folder, "n.onnx"), data = ["--data", join(root, "examples/shapes/calib")];
    const job = [model, ...data, "--limit", "40", "--nested", "8,4", "--format", "packed"];
    const { code, stderr } = await attune(...job, "--activation-bits", "none", "-o", out);
    assertEquals(code, 0, stderr);
    const [, command] = /(attune cut \S+ --bits 4 -o \S+)/.exec(stderr) ?? [];
    assert(command !== undefined, stderr);
    const cut = await attune(...command.split(" ").slice(1));
    assertEquals(cut.code, 0, cut.stderr);
    const size = readFileSync(join(folder, "n.4.onnx")).length;
    assert(stderr.includes(`${(size / 1e3).toFixed(1)} kB`), `${size} is not in\n${stderr}`);
  }));

Deno.test("nested widths that no layer has, or that cannot be compared, take no file away", async () => {
  const samples = Array.from({ length: 40 }, (_, i) => ({ x: noise(32, i + 1) }));
  const dense = (i: number) => makeNode("MatMul", `fc${i}`, [`h${i}`, `w${i}`], [`h${i + 1}`]);
  const model = (depth: number, sequence: boolean) =>
    build({
      opset: 17,
      inputs: { h0: ["N", 32] },
      nodes: [
        ...Array.from({ length: depth }, (_, i) => dense(i)),
        ...(sequence ? [makeNode("SequenceConstruct", "q", [`h${depth}`], ["q"])] : []),
      ],
      initializers: Array.from(
        { length: depth },
        (_, i) => floatTensor(`w${i}`, [32, 32], noise(1024, i + 5)),
      ),
      outputs: sequence ? ["q", `h${depth}`] : [`h${depth}`],
    });
  const nestedOf = async (of: Model) => {
    using pool = inlinePool(backend);
    const plan = makePlan(of, { nested: [8, 4], format: "packed", activationBits: "none" });
    const given = samples.map(({ x }) => ({ h0: { dims: [32], data: x } }));
    return (await quantize(plan, given, pool)).report.nested;
  };
  // First and last layers keep 8 bits: of two there is nothing to cut.
  assertEquals(await nestedOf(model(2, false)), []);
  const [narrow, ...others] = (await nestedOf(model(4, true)))!;
  assertEquals([narrow.bits, narrow.mse, narrow.agreement, others], [4, null, null, []]);
});
