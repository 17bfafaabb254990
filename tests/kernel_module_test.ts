import { Buffer } from "node:buffer";
import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { compileKernel, sourceHash } from "../scripts/kernel.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { MODULE, SOURCE_HASH } from "../src/kernel/module.ts";
import { MODULE as RELAXED } from "../src/kernel/module_relaxed.ts";

Deno.test("module: was compiled from the sources, imports nothing, and is small", () => {
  assertEquals(SOURCE_HASH, sourceHash(), 'run "deno task kernel"');
  const bytes = Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0));
  assert(bytes.length <= 38_000, `${bytes.length} bytes`);
  const module = new WebAssembly.Module(bytes);
  assertEquals(WebAssembly.Module.imports(module), []);
  // Nothing is exported that nobody calls.
  const source = ["instance", "elements", "codebooks", "kernel"].map((name) =>
    Deno.readTextFileSync(new URL(`../src/kernel/${name}.ts`, import.meta.url))
  ).join("\n");
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  for (const name of names) {
    assert(new RegExp(`exports\\.${name}\\b`).test(source), `${name} is exported and not used`);
  }
});

Deno.test("modules: what is committed is what the sources compile to, byte for byte", async () => {
  for (const [build, committed] of [["strict", MODULE], ["relaxed", RELAXED]] as const) {
    // It throws where the compiler warns.
    const { bytes, types } = await compileKernel(build);
    assert(
      bytes.length > 0 && Buffer.from(bytes).toString("base64") === committed,
      `${build}: run "deno task kernel"`,
    );
    const path = new URL("../src/kernel/exports.ts", import.meta.url);
    assertEquals(Deno.readTextFileSync(path), types, 'run "deno task kernel"');
  }
});

Deno.test("arena: aligned, zeroed again after reset, views survive growth", () => {
  using kernel = Kernel.create();
  const first = kernel.f32(Float32Array.of(1, 2, 3));
  const mark = kernel.mark();
  const second = kernel.f32(5);
  assertEquals([first.pointer % 16, second.pointer % 16], [0, 0]);
  second.view.fill(7);
  kernel.reset(mark);
  assertEquals([...kernel.f32(5).view], [0, 0, 0, 0, 0]);
  const before = kernel.bytes;
  const large = kernel.f32(before / 4);
  assert(kernel.bytes > before);
  assertEquals([...first.view], [1, 2, 3]);
  assertEquals([...kernel.f32(first).view], [1, 2, 3]);
  assert(large.view.every((value) => value === 0));
});

Deno.test("arena: refuses what does not fit into 4 GiB, and goes on", () => {
  using kernel = Kernel.create();
  const error = assertThrows(() => kernel.f32(2 ** 30), AttuneError, "4096 MiB");
  assertEquals(error.code, "too-large");
  assertEquals([...kernel.f32(2).view], [0, 0]);
});

Deno.test("kernel: says so after it was disposed of", () => {
  const kernel = Kernel.create();
  kernel[Symbol.dispose]();
  assertThrows(() => kernel.f32(1), AttuneError, "disposed");
});

Deno.test("kernel: refuses a buffer that is too short, and takes a compiled module", () => {
  using kernel = Kernel.create(
    new WebAssembly.Module(Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0))),
  );
  assertThrows(
    () => kernel.mirror({ h: kernel.f32(3), groups: 1, d: 2 }),
    AttuneError,
    "3 elements was given to the kernel where it needs 4",
  );
});
