/** Names that JavaScript, a terminal or a pattern takes for something else; tensors in circles. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cutter } from "../src/emit/narrow.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode, parseModel, serializeModel } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { matchesPattern } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";
import { build, noise } from "./helpers/models.ts";
import { product, refused, weights } from "./helpers/hostile_files.ts";

Deno.test("names that steer a terminal are shown escaped, in plans, errors and JSON", () =>
  inFolder(async (folder) => {
    const evil = "a\x1b[2J\u202egnp.\nerror: b\x9b", path = join(folder, "m.onnx");
    const model = product();
    model.proto.graph.node[0].name = evil;
    model.proto.graph.node.push(makeNode("Sin", evil, ["y"], [evil]));
    model.proto.graph.output[0].name = evil;
    writeFileSync(path, serializeModel(model));
    // deno-lint-ignore no-control-regex -- control characters are what is looked for
    const steers = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^error: b/m;
    const runs = [
      ["inspect", path],
      ["inspect", path, "--json"],
      [path, "--dry-run", "--override", "a*=8"],
      [path, "--dry-run", "--override", `none${evil}=3`],
    ];
    for (const args of runs) {
      const { stdout, stderr } = await attune(...args);
      assert(!steers.test(stdout + stderr), JSON.stringify(stdout + stderr));
      assertStringIncludes(stdout + stderr, "\\u001b[2J\\u202egnp.");
    }
    const { layers } = JSON.parse((await attune("inspect", path, "--json")).stdout);
    assertEquals(layers[0].name, evil);
    const error = new AttuneError("bad-data", `Cannot read ${evil}`);
    assert(!steers.test(error.message), error.message);
  }));

Deno.test("matchesPattern: as the expression that it stands for, also where that takes for ever", () => {
  let seed = 1;
  const random = (n: number) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
  const text = (of: string, most: number) =>
    Array.from({ length: random(most) }, () => of[random(of.length)]).join("");
  for (let i = 0; i < 20_000; i++) {
    const pattern = text("ab*?", 7), name = text("ab\n", 9);
    const source = pattern.replaceAll("*", ".*").replaceAll("?", ".");
    assertEquals(
      matchesPattern(pattern, name),
      new RegExp(`^${source}$`, "s").test(name),
      JSON.stringify([pattern, name]),
    );
  }
  assert(!matchesPattern(`${"*a".repeat(40)}*b`, "a".repeat(50_000)));
  assert(matchesPattern("a.(b)[c]", "a.(b)[c]") && !matchesPattern("a.c", "abc"));
});

Deno.test("cut: weights that come from themselves are refused", () => {
  const model = build({
    opset: 21,
    inputs: { x: ["N", 4] },
    nodes: [
      makeNode("Reshape", "one", ["b", "shape"], ["a"]),
      makeNode("Reshape", "two", ["a", "shape"], ["b"]),
      makeNode("MatMul", "", ["x", "a"], ["y"]),
    ],
    outputs: ["y"],
  });
  refused(() => new Cutter(model, "qdq").cutWeight("a", 8, 4), "bad-model", "are not where");
});

Deno.test("tensors called like members of every object work, __proto__ is refused", async () => {
  const named = (name: string) =>
    build({
      opset: 13,
      inputs: { constructor: ["N", 20] },
      nodes: [
        makeNode("MatMul", "one", ["constructor", "w"], ["toString"]),
        makeNode("MatMul", "two", ["toString", "v"], [name]),
      ],
      initializers: [
        floatTensor("w", [20, 30], weights),
        floatTensor("v", [30, 5], noise(150, 2)),
      ],
      outputs: [name],
    });
  refused(() => parseModel(serializeModel(named("__proto__"))), "bad-model", '"__proto__"');
  using pool = inlinePool(await loadBackend("web"));
  async function* samples() {
    for (let i = 0; i < 32; i++) {
      yield { source: `${i}`, inputs: { constructor: { dims: [20], data: noise(20, i + 1) } } };
    }
  }
  const made = async (name: string) =>
    (await quantize(makePlan(named(name)), samples(), pool)).report.check!;
  const [figures] = (await made("hasOwnProperty")).outputs;
  assertEquals(figures.name, "hasOwnProperty");
  const renamed = JSON.stringify(figures).replaceAll("hasOwnProperty", "y");
  assertEquals(renamed, JSON.stringify((await made("y")).outputs[0]));
  assert((await made("valueOf")).mseToFloat < 0.01);
});

const cases = join(root, "../shared/cases");
Deno.test({
  name: "models that broke attune once: a cycle, control characters in names, __proto__",
  ignore: !existsSync(join(cases, "cut_cycle.onnx")),
  fn: () =>
    inFolder(async (folder) => {
      const at = (name: string) => join(cases, `${name}.onnx`), out = join(folder, "o.onnx");
      const cut = await attune("cut", at("cut_cycle"), "--bits", "4", "-o", out);
      assertEquals([cut.code, readdirSync(folder)], [2, []], cut.stderr);
      const proto = await attune("inspect", at("proto_output"));
      assertEquals(proto.code, 2);
      assertStringIncludes(proto.stderr, '"__proto__"');
      const shown = await attune("inspect", at("escape_name"));
      // deno-lint-ignore no-control-regex -- control characters are what is looked for
      assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(shown.stdout + shown.stderr), shown.stdout);
      assertEquals(shown.code, 0, shown.stderr);
    }),
});
