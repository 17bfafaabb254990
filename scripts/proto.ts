/**
 * Generates the TypeScript types of the ONNX format from `onnx.proto`: `deno task proto`. With
 * `--check` it changes nothing and fails where the committed types are not those.
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../src/onnx/", import.meta.url));

/** The compiler and its plugin. Each package brings its program; no install script has to run. */
const PACKAGES = ["@bufbuild/buf@1.75.0", "@bufbuild/protoc-gen-es@2.17.0"];

/** Generates the types into the folder `out` and formats them as this project does. */
export function generateTypes(out: string): void {
  const template = {
    version: "v2",
    plugins: [{ local: "protoc-gen-es", out, opt: "target=ts" }],
  };
  execFileSync(
    "npx",
    [
      ...["-y", "--ignore-scripts", ...PACKAGES.map((name) => `--package=${name}`), "--"],
      ...["buf", "generate", folder, "--template", JSON.stringify(template)],
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  execFileSync("deno", ["fmt", "--quiet", "--line-width", "100", join(out, "onnx_pb.ts")]);
}

if (import.meta.main) {
  const committed = join(folder, "gen", "onnx_pb.ts");
  const before = readFileSync(committed, "utf8");
  const check = process.argv.includes("--check");
  const out = check ? mkdtempSync(join(tmpdir(), "attune-proto-")) : join(folder, "gen");
  try {
    generateTypes(out);
    const same = readFileSync(join(out, "onnx_pb.ts"), "utf8") === before;
    console.log(same ? "onnx_pb.ts is up to date" : "onnx_pb.ts differs from what was committed");
    if (check && !same) process.exitCode = 1;
  } finally {
    if (check) rmSync(out, { recursive: true });
  }
}
