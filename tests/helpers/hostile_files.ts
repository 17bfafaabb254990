/** Files that are not what they seem, and that they are refused. */

import { create } from "@bufbuild/protobuf";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { join } from "node:path";
import { AttuneError } from "../../src/errors.ts";
import {
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
} from "../../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model } from "../../src/onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../../src/onnx/tensor.ts";
import { root, run } from "./command_line.ts";
import { build, noise } from "./models.ts";

/** The model of the example. */
export const shapes = join(root, "examples/shapes/shapes.onnx");
/** Its samples. */
export const calib = join(root, "examples/shapes/calib");
/** Who runs the tests, and where: only root makes devices, only Unix has pipes. */
export const isRoot = Deno.uid() === 0, unix = Deno.build.os !== "windows";
/** The weight of `product`. */
export const weights = noise(600);

/** A MatMul with the weight `w`, in a file where `location` is given. */
export function product(location?: string): Model {
  const w = floatTensor("w", [20, 30], weights);
  const nodes = [makeNode("MatMul", "product", ["x", "w"], ["y"])];
  const model = build({
    opset: 13,
    inputs: { x: ["N", 20] },
    nodes,
    initializers: [w],
    outputs: ["y"],
  });
  if (location !== undefined) {
    const tensor = model.proto.graph.initializer[0] = rawTensor(
      "w",
      DataType.FLOAT,
      [20, 30],
      new Uint8Array(),
    );
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    tensor.externalData = [
      create(StringStringEntryProtoSchema, { key: "location", value: location }),
    ];
  }
  return model;
}

/** Makes a pipe that has a name. */
export async function makeFifo(path: string): Promise<void> {
  assertEquals((await run("mkfifo", [path])).code, 0);
}

/** Asserts that `work` ends with an error of that `code` that says `words`. */
export function refused(work: () => unknown, code: string, words: string): void {
  const error = assertThrows(work, AttuneError);
  assertEquals(error.code, code, error.message);
  assertStringIncludes(error.message, words);
}
