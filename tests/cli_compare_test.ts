/** `attune compare`, on reports that the command line wrote. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readReport } from "../src/report/read_report.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";

const example = join(root, "examples/shapes");

Deno.test("two runs are set side by side, from the JSON that --report writes", () =>
  inFolder(async (folder) => {
    const path = (name: string) => join(folder, name);
    for (const bits of [3, 8]) {
      const files = ["-o", path(`${bits}.onnx`), "--report", path(`${bits}.json`)];
      const { code, stderr } = await attune(
        ...[join(example, "shapes.onnx"), "--data", join(example, "calib"), "--limit", "40"],
        ...["--bits", `${bits}`, "--rounding", "nearest", "--seed", "3", ...files],
      );
      assertEquals(code, 0, stderr);
    }
    const report = readReport(readFileSync(path("3.json"), "utf8"), "3.json");
    assert(report.command!.includes("--bits 3 --rounding nearest --seed 3"), report.command);
    // Every tensor that layers read was looked at, and every picture is a bitmap.
    for (const { name, activation } of report.layers) {
      assert(activation!.clipped! >= 0 && activation!.clipped! < 0.5, name);
      assert(activation!.spread! >= 1, name);
    }
    assert(report.heldOut!.worst.length > 0);
    for (const { thumbnail } of report.heldOut!.worst) {
      assertEquals(atob(thumbnail!.split(",")[1]).slice(0, 2), "BM");
    }
    const { code, stdout, stderr } = await attune(
      ...["compare", path("3.json"), path("8.json"), "-o", path("page.html")],
    );
    assertEquals(code, 0, stderr);
    assert(/^bits +3 +8$/m.test(stdout) && stdout.includes("3 → 8"), stdout);
    const page = readFileSync(path("page.html"), "utf8");
    assert(page.startsWith("<!doctype html>") && page.includes("What was asked for"));
    writeFileSync(path("bad.json"), "{}");
    const refused = await attune("compare", path("3.json"), path("bad.json"));
    assertEquals(refused.code, 2);
    assert(refused.stderr.includes("as a report: version is missing"), refused.stderr);
    assertEquals((await attune("compare", path("3.json"))).code, 2);
  }));
