import { assertEquals } from "std/assert/equals.js";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { raiseOpset } from "../src/graph/raise_opset.ts";
import { Graph } from "../src/graph/graph.ts";
import { readModel } from "../src/onnx/file.ts";
import { copyModel, opsetOf } from "../src/onnx/model.ts";
import { assertSameValues, runModel, value } from "./helpers/models.ts";

const models = [
  "mobilenet_v1_0.75_224.onnx",
  "mobilenetv2_224.onnx",
  "resnet20_cifar10.onnx",
  "squeezenet1.1_224.onnx",
];

for (const name of models) {
  const path = fileURLToPath(new URL(`../../shared/models/${name}`, import.meta.url));
  Deno.test({
    name: `raiseOpset: ${name} gives the same outputs at opset 21`,
    ignore: !existsSync(path),
    async fn() {
      const model = readModel(path);
      const raised = copyModel(model);
      raiseOpset(raised, 21);
      assertEquals(opsetOf(raised), 21);
      const input = new Graph(model).inputs[0];
      const dims = input.dims.map((dim) => typeof dim === "number" ? dim : 1);
      const feeds = { [input.name]: value(dims) };
      assertSameValues(await runModel(raised, feeds), await runModel(model, feeds));
    },
  });
}
