/** The runtimes whose integer kernels are compared with a simulation. */

import { makeNode } from "../../src/onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../../src/onnx/tensor.ts";
import { sessionBytes } from "../../src/onnx/session_bytes.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { build, value } from "./models.ts";

/**
 * onnxruntime-web, and onnxruntime-node unless this processor saturates: on x64 without VNNI native
 * kernels add products of uint8 and int8 in pairs of 16 bits (`session.x64quantprecision` would
 * mend it, but a MatMul with a scale per channel does not run with it in 1.30).
 */
export async function integerRuntimes(): Promise<readonly Runtime[]> {
  const web = await loadBackend("web"), node = await loadBackend("node");
  if (await product(web) !== EXPECTED) throw new Error("onnxruntime-web saturates");
  if (await product(node) === EXPECTED) return [web, node];
  console.log("skipped on node: integer kernels saturate on this processor (no VNNI)");
  return [web];
}

/** Channels of the probe, each 255 times 127. */
const CHANNELS = 32, EXPECTED = CHANNELS * 255 * 127;

/** What `runtime` makes of a quantized 1×1 convolution of the largest levels. */
async function product(runtime: Runtime): Promise<number> {
  const levels = new Int8Array(CHANNELS).fill(127);
  const model = build({
    opset: 13,
    inputs: { x: [1, CHANNELS, 1, 1] },
    nodes: [
      makeNode("QuantizeLinear", "q", ["x", "one", "zero"], ["xq"]),
      makeNode("DequantizeLinear", "d", ["xq", "one", "zero"], ["xd"]),
      makeNode("DequantizeLinear", "dw", ["wq", "one"], ["w"]),
      makeNode("Conv", "conv", ["xd", "w"], ["c"]),
      makeNode("QuantizeLinear", "qc", ["c", "step", "zero"], ["cq"]),
      makeNode("DequantizeLinear", "dc", ["cq", "step", "zero"], ["y"]),
    ],
    initializers: [
      floatTensor("one", [], Float32Array.of(1)),
      floatTensor("step", [], Float32Array.of(EXPECTED / 255)),
      rawTensor("zero", DataType.UINT8, [], Uint8Array.of(0)),
      rawTensor("wq", DataType.INT8, [1, CHANNELS, 1, 1], new Uint8Array(levels.buffer)),
    ],
    outputs: ["y"],
  });
  const session = await runtime.open(sessionBytes(model));
  try {
    const x = value([1, CHANNELS, 1, 1], new Float32Array(CHANNELS).fill(255));
    return Number((await session.run({ x })).y.data[0]);
  } finally {
    await session.release();
  }
}
