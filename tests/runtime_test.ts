/** Runtimes: an accelerator that is not there. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import * as ort from "onnxruntime-web/wasm";
import { AttuneError } from "../src/errors.ts";
import { makeNode } from "../src/onnx/model.ts";
import { sessionBytes } from "../src/onnx/session_bytes.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { onnxruntime, type OnnxRuntimeModule } from "../src/runtime/session.ts";
import { build } from "./helpers/models.ts";

Deno.test("a failing accelerator: one note, and the processor from then on", async () => {
  await loadBackend("web"); // Sets the module up.
  const notes: string[] = [];
  const runtime = onnxruntime(ort as unknown as OnnxRuntimeModule, {
    accelerator: "webgpu",
    onFallback: (reason) => notes.push(reason),
  });
  const model = build({
    opset: 13,
    inputs: { x: [2] },
    nodes: [makeNode("Neg", "neg", ["x"], ["y"])],
    outputs: ["y"],
  });
  for (let i = 0; i < 2; i++) {
    const session = await runtime.open(sessionBytes(model));
    const feed = { x: { type: "float32", dims: [2], data: Float32Array.of(1, -2) } };
    assertEquals([...(await session.run(feed)).y.data], [-1, 2]);
    await session.release();
  }
  assertEquals(notes.length, 1);
  assert(notes[0].startsWith("webgpu does not work here"), notes[0]);
  await assertRejects(() => runtime.open(new Uint8Array([1, 2, 3])), AttuneError, "Cannot open");
});
