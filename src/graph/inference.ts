/**
 * A model as it is used, not as it is trained: what draws lots, or looks at the other samples of a
 * batch, has no place in it. Its results would depend on what else is asked for.
 *
 * @module
 */

import type { GraphProto, NodeProto } from "../onnx/gen/onnx_pb.ts";
import { intAttribute, type Model } from "../onnx/model.ts";
import { AttuneError } from "../errors.ts";
import { bodiesOf, isStandard, nodeName, readsOf } from "./graph.ts";
import { bypass } from "./rename.ts";

/** Operators of the default domain that draw their results. */
const RANDOM = new Set([
  ...["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"],
  ...["RandomUniform", "RandomUniformLike"],
]);

/**
 * Takes Dropout out of `model`, which exporters leave in training mode now and then: at inference
 * it passes its input on. Where its mask is read it stays, out of training.
 *
 * @returns how many there were; `model` is changed.
 * @throws {AttuneError} `bad-model` where a node is random, or normalises by the batch at hand.
 */
export function forInference(model: Model): number {
  refuseRandom(model, model.proto.graph);
  const masked = stopMasked(model.proto.graph);
  return masked + bypass(model.proto.graph, (node) => isDropout(node) && node.output.length < 2);
}

function isDropout(node: NodeProto): boolean {
  return isStandard(node) && node.opType === "Dropout";
}

/** Ends training mode where a mask is read, and takes away the masks that are not. */
function stopMasked(graph: GraphProto): number {
  const read = new Set([
    ...graph.node.flatMap(readsOf),
    ...graph.output.map((value) => value.name),
  ]);
  let count = 0;
  for (const node of graph.node) {
    for (const body of bodiesOf(node)) count += stopMasked(body);
    if (!isDropout(node)) continue;
    if (read.has(node.output[1] ?? "")) {
      node.input = node.input.slice(0, 1);
      count++;
    } else node.output = node.output.slice(0, 1);
  }
  return count;
}

function refuseRandom(model: Model, graph: GraphProto): void {
  for (const node of graph.node) {
    for (const body of bodiesOf(node)) refuseRandom(model, body);
    if (!isStandard(node)) continue;
    const start = `Cannot quantize ${model.name}: node "${nodeName(node)}" (${node.opType})`;
    if (RANDOM.has(node.opType)) {
      throw new AttuneError(
        "bad-model",
        `${start} draws other numbers in each run, so the float and the quantized model cannot be ` +
          `compared; make what it draws an input of the model`,
      );
    }
    if (node.opType === "BatchNormalization" && intAttribute(node, "training_mode", 0) !== 0) {
      throw new AttuneError(
        "bad-model",
        `${start} is in training mode: what it makes of a sample depends on the others of its ` +
          `batch; export the model for inference`,
      );
    }
  }
}
