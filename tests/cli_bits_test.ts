/** Budgets and sweeps on the command line, in processes of their own. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseModel } from "../src/onnx/model.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";

const shapes = join(root, "examples/shapes");
const model = join(shapes, "shapes.onnx");
const data = ["--data", join(shapes, "calib"), "--preprocess", "unit", "--limit", "48"];

Deno.test("a budget is met by what is written, and the report says what each layer pays", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx"), page = join(folder, "report.html");
    const job = [model, ...data, "--average-bits", "3"];
    const { code, stdout, stderr } = await attune(...job, "-o", out, "--report", page, "--json");
    assertEquals(code, 0, stderr);
    const { allocation, layers, options, file } = JSON.parse(stdout);
    assertEquals([allocation.strategy, allocation.basis], ["coding-length", "outputs"]);
    assertEquals(options.bits.budget, { kind: "average", bits: 3 });
    assert(allocation.averageBits <= 3 && allocation.averageBits > 2.5);
    assertEquals(
      layers.map(({ bits }: { bits: number }) => bits),
      allocation.layers.map(({ bits }: { bits: number }) => bits),
    );
    for (const { loss, error } of allocation.layers) assert(loss > 0 && error > 0);
    assert(file.after <= allocation.bytes && file.after > allocation.bytes - 1000);
    const metadata = new Map(
      parseModel(readFileSync(out)).proto.metadataProps.map(({ key, value }) => [key, value]),
    );
    assertEquals(JSON.parse(metadata.get("attune.widths")!).conv_0, 8);
    assert(/how bits were spread/i.test(readFileSync(page, "utf8")), "the page has no budget");
    // The plan is the same without the job.
    const plan = JSON.parse((await attune(...job, "--dry-run", "--json")).stdout);
    assertEquals(plan.allocation, allocation);
    const text = (await attune(...job, "--dry-run")).stdout;
    assert(/going by outputs on samples/.test(text) && /length +error +adds/.test(text), text);
  }));

Deno.test("sizes and losses are kept, and without data the plan goes by the weights and says so", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx");
    // What a packed file needs beside its levels depends on which widths there are.
    const job = [model, ...data, "--max-size", "45kB", "--format", "packed"];
    const made = await attune(...job, "-o", out, "--json");
    assertEquals(made.code, 0, made.stderr);
    const { after } = JSON.parse(made.stdout).file;
    assert(after <= 45_000 && after > 40_000, `${after}`);
    const plan = await attune(model, "--dry-run", "--average-bits", "3.5");
    assert(/going by the weights alone, without --data/.test(plan.stdout), plan.stdout);
    const clusters = JSON.parse(
      (await attune(model, "--dry-run", "--json", "--bits", "mixed:2,4,8")).stdout,
    );
    assertEquals(clusters.allocation.strategy, "clusters");
    assert(clusters.layers.every(({ bits }: { bits: number }) => [2, 4, 8].includes(bits)));
  }));

Deno.test("flags that do not go together, or cannot be met, end with 2 and a sentence", async () => {
  const cases: [string[], RegExp][] = [
    [["--bits", "4", "--average-bits", "3"], /--bits 4 with --average-bits/],
    [["--average-bits", "3", "--max-size", "1MB"], /--average-bits with --max-size/],
    [["--allocate", "measured"], /--allocate measured without a budget/],
    [["--allocate", "clusters", "--average-bits", "3"], /clusters follow no budget/],
    [["--allocate", "luck", "--average-bits", "3"], /--allocate luck/],
    [["--bits", "mixed:2;3"], /--bits mixed:2;3/],
    [["--bits", "mixed:4"], /the widths 4/],
    [["--average-bits", "9"], /9 bits on average/],
    [["--max-size", "big"], /--max-size big/],
    [["--max-size", "1kB"], /1000 bytes small/],
    [["--max-loss", "0.01"], /output error 0.01 without samples/],
    [["--average-bits", "3", "--allocate", "measured"], /measured without samples/],
    [["--sweep", "2-8"], /--sweep 2-8/],
    [["--sweep", "8..2"], /--sweep 8..2/],
    [["--sweep", "2..8", "--max-size", "1MB"], /--sweep with --max-size/],
    [["--sweep", "2..8", "-o", "model.onnx"], /name with \*/],
  ];
  for (const [flags, expected] of cases) {
    const sweeping = flags[0] === "--sweep";
    const { code, stderr } = await attune(model, ...flags, ...sweeping ? [] : ["--dry-run"]);
    assertEquals(code, 2, stderr);
    assert(expected.test(stderr), stderr);
    assert(!/^\s+at /m.test(stderr), `a stack trace: ${stderr}`);
  }
});

Deno.test("inspect lists lengths and what strategies would give, more of them with data", async () => {
  const plain = JSON.parse((await attune("inspect", model, "--json")).stdout).bits;
  assertEquals(plain.length, 10);
  assertEquals(plain[0].parameters, 432);
  assert(plain[3].codingLength > plain[3].parameters && plain[3].jointLengthPerWeight > 1);
  assertEquals(Object.keys(plain[0].bits), [
    "coding-length",
    "coding-length:joint",
    "nuclear",
    "clusters",
  ]);
  const { code, stdout, stderr } = await attune("inspect", model, ...data);
  assertEquals(code, 0, stderr);
  assert(/sensitivity .* gradient +hessian-trace +measured +clusters/.test(stdout), stdout);
});

Deno.test("a sweep gives a table, a page and JSON, and writes models only where asked", () =>
  inFolder(async (folder) => {
    const page = join(folder, "sweep.html");
    const job = [model, ...data, "--sweep", "3..4", "--activation-bits", "none"];
    const { code, stdout, stderr } = await attune(...job, "--report", page);
    assertEquals(code, 0, stderr);
    assert(/\* .*coding-length/.test(stdout) && /float model is right/.test(stdout), stdout);
    assertEquals(readdirSync(folder), ["sweep.html"]);
    assert(/<circle/.test(readFileSync(page, "utf8")));
    const pattern = join(folder, "m.*.onnx");
    const json = JSON.parse((await attune(...job, "--json", "-o", pattern)).stdout);
    assertEquals(json.points.length, 5);
    assertEquals(readdirSync(folder).sort(), ["m.3.5.onnx", "m.3.onnx", "m.4.onnx", "sweep.html"]);
  }));
