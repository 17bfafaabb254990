/** The kernel's relaxed build, and memory that grows in a process of its own. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { fileURLToPath } from "node:url";
import { sourceHash } from "../scripts/kernel.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { MODULE, SOURCE_HASH } from "../src/kernel/module_relaxed.ts";
import { relaxedModule } from "../src/kernel/relaxed.ts";
import { noise } from "./helpers/models.ts";

Deno.test("relaxed module: was compiled from the sources, imports nothing, and is small", () => {
  assertEquals(SOURCE_HASH, sourceHash(), 'run "deno task kernel"');
  const bytes = Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0));
  assert(bytes.length <= 38_000, `${bytes.length} bytes`);
  assertEquals(WebAssembly.Module.imports(new WebAssembly.Module(bytes)), []);
});

Deno.test("relaxed module: sums as good as the strict ones, draws and decisions the same", async () => {
  const module = await relaxedModule();
  assert(module !== undefined, "this host has no relaxed SIMD");
  using strict = Kernel.create();
  using relaxed = Kernel.create(module);
  const n = 130, values = noise(n * n, 1);
  const results = [strict, relaxed].map((kernel) => {
    const a = kernel.f32(values), c = kernel.f32(n * n), q = kernel.f32(n), drawn = kernel.f32(n);
    kernel.cross({ y: a, x: a, r: c, groups: 1, o: n, d: n, p: n });
    const [scale, lo] = [0.1, -8].map((value) => kernel.f32(Float32Array.of(value)));
    const row = { target: a, scale, groupSize: n, lo, span: 15, rows: 1, groups: 1, d: n };
    kernel.nearest({ ...row, q });
    kernel.stochastic({ ...row, q: drawn, seed: 1, stream: 2 });
    return { c: c.view.slice(), drawn: drawn.view.slice(), q: q.view.slice() };
  });
  assertEquals(results[0].drawn, results[1].drawn);
  assertEquals(results[0].q, results[1].q);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let exact = 0, size = 0;
      for (let k = 0; k < n; k++) {
        const term = values[i * n + k] * values[j * n + k];
        exact += term;
        size += Math.abs(term);
      }
      for (const { c } of results) {
        assert(Math.abs(c[i * n + j] - exact) < 1e-6 * size, `element ${i}, ${j}`);
      }
    }
  }
});

Deno.test("arena: grows to a gigabyte in a fresh process and keeps what it holds", async () => {
  const address = new URL("../src/kernel/kernel.ts", import.meta.url).href;
  const script = `
    import { Kernel } from ${JSON.stringify(address)};
    using kernel = Kernel.create();
    const before = kernel.bytes, parts = [];
    for (let i = 0; i < 16; i++) {
      const part = kernel.f32(2 ** 24);
      part.view.fill(i, 0, 10);
      part.view.fill(i, part.length - 10);
      parts.push(part);
    }
    const kept = parts.every((part, i) =>
      part.view[0] === i && part.view[10] === 0 && part.view[part.length - 1] === i);
    const mark = kernel.mark(), large = kernel.bytes;
    kernel.f32(100);
    kernel.reset(mark);
    console.log(JSON.stringify({ before, large, kept, after: kernel.bytes }));`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--config", fileURLToPath(new URL("../deno.json", import.meta.url)), script],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const { before, large, kept, after } = JSON.parse(
    new TextDecoder().decode(stdout) || `"${new TextDecoder().decode(stderr)}"`,
  );
  assert(kept, "what lay in the memory before it grew is gone");
  assert(before < 2 ** 23, `a fresh kernel takes ${before} bytes`);
  assert(large > 2 ** 30 && large < 1.2 * 2 ** 30, `${large} bytes for a gigabyte`);
  assertEquals(after, large);
});
