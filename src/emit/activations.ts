/**
 * Activations on their grids: QuantizeLinear and DequantizeLinear after what computes them, or, to
 * be learned, operators that have gradients.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { makeNode } from "../onnx/model.ts";
import { floatTensor } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import type { QuantizedModelWriter } from "./quantized_model_writer.ts";
import type { Parts } from "../weights/rounding.ts";

/** The initializer of a learnable model that holds the step of the activation `name`, a scalar. */
export function stepName(name: string): string {
  return `${name}_attune_step`;
}

/** What a graph input with a grid is called once it went through the grid. */
const DEQUANTIZED_INPUT = "_attune_dequantized";

/** The tensor that the readers of `name` see in a model of `buildModel`. */
export function tensorAsRead(plan: Plan, parts: Parts, name: string): string {
  const isInput = plan.graph.inputs.some((input) => input.name === name);
  return isInput && parts.grids.has(name) ? name + DEQUANTIZED_INPUT : name;
}

/** Passes every activation that has a grid through it. */
export function putActivations(writer: QuantizedModelWriter): void {
  const { plan, parts } = writer;
  const { graph } = writer.model.proto;
  const nodes: NodeProto[] = [];
  const fed = new Set(graph.input.map((input) => input.name));
  for (const input of plan.graph.inputs) {
    if (!parts.grids.has(input.name) || !fed.has(input.name)) continue;
    // An input keeps its name, so its readers move to the dequantized tensor.
    const to = tensorAsRead(plan, parts, input.name);
    nodes.push(...throughGrid(writer, input.name, to, input.name));
    for (const node of graph.node) {
      node.input = node.input.map((name) => name === input.name ? to : name);
    }
  }
  for (const node of graph.node) {
    nodes.push(node);
    node.output = node.output.map((name) => {
      const source = name === "" ? undefined : writer.gridOf(name);
      if (source === undefined) return name;
      const raw = writer.name(`${name}_raw`);
      nodes.push(...throughGrid(writer, raw, name, source));
      return raw;
    });
  }
  graph.node = nodes;
}

/**
 * Nodes that pass `from` through the grid of `source` into `to`. Levels of fewer than 8 bits are
 * clipped bytes: with ONNX's own type for them, onnxruntime-node 1.30 opens no model that has a
 * Clip, onnxruntime-web writes out of bounds, and neither has integer kernels for it.
 */
function throughGrid(
  writer: QuantizedModelWriter,
  from: string,
  to: string,
  source: string,
): NodeProto[] {
  if (writer.format === "learnable") return learnableGrid(writer, from, to, source);
  const { bits } = writer.parts.grids.get(source)!, { scale, zero } = writer.gridNames(source);
  const levels = writer.name(`${source}_quantized`);
  // Moved values are levels already.
  const clipped = bits === 8 || writer.plan.activations.shared.has(to)
    ? levels
    : writer.name(levels);
  const quantize = makeNode(
    "QuantizeLinear",
    writer.name(`${from}_quantize`),
    [from, scale, zero],
    [levels],
  );
  const clip = () =>
    makeNode("Clip", writer.name(`${from}_clip`), [levels, "", writer.byte(2 ** bits - 1)], [
      clipped,
    ]);
  const dequantize = makeNode(
    "DequantizeLinear",
    writer.name(`${to}_dequantize`),
    [clipped, scale, zero],
    [to],
  );
  return [quantize, ...(clipped === levels ? [] : [clip()]), dequantize];
}

/**
 * Nodes that pass `from` through the grid of `source` into `to`: clip(round(x / s), −z, p − z) · s.
 * The clipping may come before the offset z, so that a straight-through Round leaves the gradients
 * of LSQ.
 */
function learnableGrid(
  writer: QuantizedModelWriter,
  from: string,
  to: string,
  source: string,
): NodeProto[] {
  const { bits, scale, zeroPoint } = writer.parts.grids.get(source)!;
  const { initializer } = writer.model.proto.graph;
  const step = stepName(source);
  if (!initializer.some((tensor) => tensor.name === step)) {
    initializer.push(floatTensor(step, [], Float32Array.of(scale)));
  }
  const bound = (end: string, value: number) =>
    writer.put(floatTensor(writer.name(`${to}_${end}`), [], Float32Array.of(value)));
  const [ratio, whole, level] = ["ratio", "whole", "level"].map((stage) =>
    writer.name(`${to}_${stage}`)
  );
  const bounds = [bound("least", -zeroPoint), bound("most", 2 ** bits - 1 - zeroPoint)];
  return [
    makeNode("Div", writer.name(`${to}_divide`), [from, step], [ratio]),
    makeNode("Round", writer.name(`${to}_round`), [ratio], [whole]),
    makeNode("Clip", writer.name(`${to}_clip`), [whole, ...bounds], [level]),
    makeNode("Mul", writer.name(`${to}_scale`), [level, step], [to]),
  ];
}
