/** The command line as a user runs it: in a process of its own. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeNode, serializeModel } from "../src/onnx/model.ts";
import { readModel } from "../src/onnx/file.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";
import { build, noise } from "./helpers/models.ts";

const shapes = join(root, "examples/shapes");
const model = join(shapes, "shapes.onnx"), calib = join(shapes, "calib"), val = join(shapes, "val");

Deno.test("quantize, evaluate and report on the carried example", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx"), page = join(folder, "report.html");
    const before = readFileSync(model);
    const made = await attune(
      model,
      "--data",
      calib,
      "--limit",
      "64",
      "-o",
      out,
      "--report",
      page,
      "--json",
    );
    assertEquals(made.code, 0, made.stderr);
    const report = JSON.parse(made.stdout);
    assertEquals([report.layers.length, report.samples], [10, {
      calibration: 60,
      heldOut: 4,
      skipped: 0,
    }]);
    assert(report.file.after * 4 < report.file.before, "not four times smaller");
    assert(readFileSync(page, "utf8").includes("conv_12"), "the page lacks a layer");
    assertEquals(readdirSync(folder).sort(), ["out.onnx", "report.html"]);
    assertEquals(readFileSync(model), before);

    const judged = await attune("evaluate", out, "--reference", model, "--data", val, "--json");
    assertEquals(judged.code, 0, judged.stderr);
    const result = JSON.parse(judged.stdout);
    assertEquals(Object.keys(result).sort(), [
      "agreement",
      "interval",
      "kl",
      "mse",
      "outputs",
      "reference",
      "samples",
      "top1",
      "top5",
    ]);
    assertEquals([result.samples, result.reference.top1], [400, 93.5]);
    assert(result.top1 > 90, `top-1 ${result.top1}`);
  }));

Deno.test("help names every command, and each has an example", async () => {
  const overview = await attune("--help");
  assertEquals(overview.code, 0);
  for (const command of ["quantize", "evaluate", "inspect", "cut"]) {
    assert(overview.stdout.includes(command));
    const help = await attune(command, "--help");
    assert(/^ {2}attune .*onnx/m.test(help.stdout), help.stdout);
  }
  const plan = await attune(model, "--dry-run", "--override", "conv_1?=skip");
  assert(/stays in float: conv_12 .*override/.test(plan.stdout), plan.stdout);
  const grids = await attune(model, "--dry-run", "--bits", "ternary", "--override", "conv_12=4");
  assert(/^conv_12 .* 4 /m.test(grids.stdout), grids.stdout);
  assert(/^conv_3 .* ternary +stored in 4 /m.test(grids.stdout), grids.stdout);
  const found = JSON.parse((await attune("inspect", model, "--json")).stdout);
  assertEquals(found.layers.length, 10);
});

Deno.test("without arguments one example is shown, and a mistyped command is answered", async () => {
  const bare = await attune();
  assertEquals([bare.code, bare.stderr], [2, ""]);
  assertEquals(bare.stdout.match(/onnx --data/g)?.length, 1, bare.stdout);
  const typo = await attune("evalute", "x.onnx");
  assertEquals(typo.code, 2);
  assert(typo.stderr.includes("did you mean evaluate?"), typo.stderr);
});

Deno.test("inspect cuts blocks where they would be learned: at small tensors", () =>
  inFolder(async (folder) => {
    const widths = [3, 4, 16, 16, 4, 16, 16, 4];
    const chain = (side: number | string) =>
      build({
        opset: 13,
        inputs: { x: ["N", 3, side, 8] },
        nodes: widths.slice(1).map((_, i) =>
          makeNode("Conv", `c${i + 1}`, [i === 0 ? "x" : `t${i}`, `w${i + 1}`], [`t${i + 1}`])
        ),
        initializers: widths.slice(1).map((width, i) =>
          floatTensor(`w${i + 1}`, [width, widths[i], 1, 1], noise(width * widths[i], i))
        ),
        outputs: ["t7"],
      });
    const path = join(folder, "chain.onnx");
    const blocks = async (side: number | string) => {
      writeFileSync(path, serializeModel(chain(side)));
      const { stdout } = await attune("inspect", path, "--json");
      return JSON.parse(stdout).blocks.map(({ layers }: { layers: string[] }) => layers.length);
    };
    assertEquals(await blocks(8), [1, 3, 3]);
    // Without a size, all tensors count alike.
    assertEquals((await blocks("height")).reduce((a: number, b: number) => a + b), 7);
  }));

/** A command line that is refused, and what its error names. */
type Refused = [args: string[], named: RegExp];

const data = ["--data", calib];

/** A model whose images may have any size. */
const freeModel = () =>
  build({
    opset: 13,
    inputs: { x: ["N", 3, "height", "width"] },
    nodes: [makeNode("Conv", "conv", ["x", "w"], ["y"])],
    initializers: [floatTensor("w", [4, 3, 1, 1], noise(12))],
    outputs: ["y"],
  });

/** A model that is quantized already. */
const quantizedModel = () =>
  build({
    opset: 13,
    inputs: { x: ["N", 3] },
    nodes: [makeNode("QuantizeLinear", "quantize", ["x", "s"], ["y"])],
    initializers: [floatTensor("s", [], new Float32Array([1]))],
    outputs: ["y"],
  });

/** Models and samples in `folder` that are damaged, absent, or of no use. */
function badInputs(folder: string, output: string[]): Refused[] {
  const file = (name: string, content: Uint8Array | string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const bytes = readFileSync(model);
  const text = "a text, not a picture";
  for (const name of ["empty", "texts"]) mkdirSync(join(folder, name));
  return [
    [[file("cut.onnx", bytes.subarray(0, 5000)), ...data, ...output], /cut\.onnx/],
    [[file("text.onnx", text), ...data, ...output], /text\.onnx.*not an ONNX model/],
    [[join(folder, "none.onnx"), ...data, ...output], /none\.onnx/],
    [[folder, ...data, ...output], /folder/],
    [[file("q.onnx", serializeModel(quantizedModel())), ...data, ...output], /quantized already/],
    [[file("free.onnx", serializeModel(freeModel())), ...data, ...output], /crop/],
    [[model, "--data", join(folder, "empty"), ...output], /empty/],
    [[model, "--data", join(folder, "absent"), ...output], /absent/],
    [
      [model, "--data", file("texts/text.jpg", text).replace("/text.jpg", ""), ...output],
      /texts/,
    ],
  ];
}

/** Options that have a wrong value, lack what goes with them, or do not exist. */
function badOptions(folder: string, output: string[]): Refused[] {
  return [
    [[model, ...data, ...output, "--bits", "1"], /1 .*2 to 8/],
    [[model, ...data, ...output, "--bits", "9"], /9 .*2 to 8/],
    [[model, ...data, ...output, "--bits", "x"], /--bits x.*number/],
    [[model, ...data, ...output, "--override", "conv_12=binary"], /binary.*ternary/],
    [[model, ...data, ...output, "--nested", "4,8"], /4,8.*falling/],
    [["cut", model, "--bits", "4", ...output], /shapes\.onnx.*--nested/],
    [["cut", model, ...output], /--bits 4/],
    [[model, ...data, ...output, "--fast"], /--fast/],
    [[model, ...data, ...output, "--rounding", "up"], /--rounding up.*nearest/],
    [[model, ...data, ...output, "--format", "zip"], /--format zip.*packed/],
    [[model, ...data, ...output, "--override", "nothing=4"], /nothing/],
    [[model, ...data, ...output, "--limit", "0"], /0 .*at least 1/],
    [[model, ...data, ...output, "--time-budget", "soon"], /--time-budget soon.*10m/],
    [[model, ...data, ...output, "--iterations", "9"], /--iterations.*--blocks/],
    [[model, ...data, ...output, "--debug-graphs", folder], /--debug-graphs.*--blocks/],
    [[model, ...data, ...output, "--activation-bits", "3"], /--activation-bits 3.*8, 4/],
    [[model, ...data, ...output, "--memory", "-1"], /--memory/],
    [[model, ...data], /--output/],
    [[model, ...output], /--data/],
  ];
}

/** Outputs in `folder` that cannot be written. */
function badOutputs(folder: string): Refused[] {
  mkdirSync(join(folder, "taken"));
  return [
    [[model, ...data, "-o", join(folder, "taken")], /taken.*folder/],
    [[model, ...data, "-o", join(folder, "no/where.onnx")], /where\.onnx/],
  ];
}

Deno.test("bad input is named, with a remedy, and leaves nothing behind", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx"), output = ["-o", out];
    const cases = [
      ...badInputs(folder, output),
      ...badOptions(folder, output),
      ...badOutputs(folder),
    ];
    for (const [args, named] of cases) {
      const { code, stdout, stderr } = await attune(...args);
      const shown = `${args.join(" ")}\n${stdout}${stderr}`;
      assertEquals(code, 2, shown);
      const lines = stderr.trim().split("\n").filter((line) => /^error: /.test(line));
      assertEquals(lines.length, 1, shown);
      assert(named.test(lines[0]), shown);
      assert(!/^\s+at /m.test(stderr), `a stack trace: ${shown}`);
      assert(
        !existsSync(out) && !readdirSync(folder).some((name) => name.startsWith(".attune-")),
        shown,
      );
    }
  }));

Deno.test("a nested file is cut to fewer bits", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx"), small = join(folder, "small.onnx");
    const job = [model, "--data", calib, "--limit", "64", "--nested", "8,4", "-o", out];
    const made = await attune(...job);
    assertEquals(made.code, 0, made.stderr);
    const cut = await attune("cut", out, "--bits", "4", "-o", small);
    assertEquals(cut.code, 0, cut.stderr);
    const size = (path: string) => readFileSync(path).length;
    assert(size(small) < 0.75 * size(out), `${size(small)} of ${size(out)} bytes`);
    const judged = await attune("evaluate", small, "--reference", model, "--data", val, "--json");
    assert(JSON.parse(judged.stdout).top1 > 90, judged.stdout);
  }));

Deno.test("a packed file has the size of its bits, computes what was simulated, and is refused again", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx");
    const job = [model, "--bits", "3", "--format", "packed", "--activation-bits", "none"];
    const planned = JSON.parse((await attune(...job, "--dry-run", "--json")).stdout);
    assertEquals(planned.layers[3].storage, {
      format: "packed",
      bits: 3,
      layout: { kind: "planes", widths: [2, 1] },
    });
    const shown = await attune(model, "--format", "matmulnbits", "--dry-run");
    assert(/packed: MatMulNBits is no Conv/.test(shown.stdout), shown.stdout);
    const made = await attune(...job, "--data", calib, "--limit", "64", "-o", out, "--json");
    assertEquals(made.code, 0, made.stderr);
    const { file, size, check, layers } = JSON.parse(made.stdout);
    assertEquals(size, planned.size);
    assert(file.after > size.after && file.after - size.after < 10_000, JSON.stringify(file));
    assert(check.mseToSimulation < 1e-10, `${check.mseToSimulation}`);
    assertEquals([layers[3].storage, layers[3].storedBits], ["packed", 3]);
    const again = await attune(out, "--dry-run");
    assertEquals(again.code, 2);
    assert(/quantized already \(attune .* made it\)/.test(again.stderr), again.stderr);
  }));

Deno.test("one corrupt image among good ones is left out, with a warning", () =>
  inFolder(async (folder) => {
    const images = join(folder, "images"), out = join(folder, "out.onnx");
    cpSync(calib, images, { recursive: true });
    const [first] = readdirSync(images);
    writeFileSync(join(images, first, "broken.png"), "no picture");
    const { code, stdout, stderr } = await attune(model, "--data", images, "-o", out, "--json");
    assertEquals(code, 0, stderr);
    assert(/warning: .*broken\.png/.test(stderr), stderr);
    assertEquals(JSON.parse(stdout).samples.skipped, 1);
  }));

Deno.test("an interrupted run says so, and --resume ends with the bytes of a whole one", () =>
  inFolder(async (folder) => {
    const whole = join(folder, "whole.onnx"), out = join(folder, "out.onnx");
    const job = [model, "--data", calib, "--bits", "2", "--blocks", "--iterations", "30"];
    const graphs = join(folder, "graphs");
    const first = await attune(...job, "-o", whole, "--debug-graphs", graphs);
    assertEquals(first.code, 0, first.stderr);
    const written = readdirSync(graphs).sort();
    assert(written.length > 1 && written[0] === "block-001.onnx", `${written}`);
    for (const name of written) {
      const { proto: { graph } } = readModel(join(graphs, name));
      assert(graph.output.length > 1 && graph.node.length > graph.output.length, name);
    }
    Deno.removeSync(graphs, { recursive: true });
    assert(/blocks are better/.test(first.stderr + first.stdout), first.stderr);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", join(root, "quantize.ts"), ...job, "-o", out],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    while (!existsSync(`${out}.checkpoint`)) await new Promise((go) => setTimeout(go, 20));
    child.kill("SIGINT");
    const stopped = await child.output(), said = new TextDecoder().decode(stopped.stderr);
    assertEquals(stopped.code, 130, said);
    assert(/go on by --resume/.test(said), said);
    const other = await attune(...job, "--edge-bits", "4", "--resume", "-o", out);
    assertEquals(other.code, 2);
    assert(/edgeBits was 8, is 4/.test(other.stderr), other.stderr);
    const resumed = await attune(...job, "--resume", "--threads", "1", "-o", out);
    assertEquals(resumed.code, 0, resumed.stderr);
    assertEquals(readFileSync(out), readFileSync(whole));
    assertEquals(readdirSync(folder).sort(), ["out.onnx", "whole.onnx"]);
  }));

Deno.test("Ctrl-C stops cleanly", () =>
  inFolder(async (folder) => {
    const out = join(folder, "out.onnx"), temporary = join(folder, "temporary");
    mkdirSync(temporary);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", join(root, "quantize.ts"), model, "--data", calib, "-o", out],
      env: { TMPDIR: temporary },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    // Its folder for temporary files appears when the workers start.
    while (readdirSync(temporary).length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    child.kill("SIGINT");
    const { code, stderr } = await child.output();
    assertEquals(code, 130, new TextDecoder().decode(stderr));
    assertEquals(readdirSync(folder), ["temporary"]);
    assertEquals(readdirSync(temporary), []);
  }));
