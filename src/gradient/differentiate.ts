/**
 * Reverse-mode differentiation of a part of a model: from an ONNX graph to an ONNX graph that
 * returns the loss and its gradients. No training framework, no operators of training: onnxruntime
 * runs it wherever it runs the model.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { extract, valueInfo } from "../graph/extract.ts";
import { isControlFlow, isStandard, nodeName, readsOf, tensorNames } from "../graph/graph.ts";
import type { GraphProto, NodeProto } from "../onnx/gen/onnx_pb.ts";
import { copyModel, type Model, opsetOf } from "../onnx/model.ts";
import { DataType, dimsOf, readInts } from "../onnx/tensor.ts";
import { type Rule, Site } from "./rule.ts";
import { convolution } from "./rules/conv.ts";
import { elementwise } from "./rules/elementwise.ts";
import { linear } from "./rules/linear.ts";
import { pool } from "./rules/pool.ts";
import { reduce } from "./rules/reduce.ts";
import { resample } from "./rules/resample.ts";
import { shape } from "./rules/shape.ts";
import { Tape } from "./tape.ts";

const RULES: ReadonlyMap<string, Rule> = new Map(Object.entries<Rule>({
  ...elementwise,
  ...shape,
  ...resample,
  ...linear,
  ...reduce,
  ...pool,
  ...convolution,
}));

/** Options of {@linkcode differentiate}. */
export interface GradientOptions {
  /**
   * Tensors whose gradients are wanted, float32: initializers, which become inputs so that each run
   * can have other values, or inputs.
   */
  readonly wrt: readonly string[];
  /**
   * Whole numbers that the model computes from shapes alone, by name: where a Slice begins, for
   * example. Default: only constants are known.
   */
  readonly values?: ReadonlyMap<string, readonly number[]>;
  /** What the loss of an output counts, by the output's name. Default: 1. */
  readonly lossWeights?: ReadonlyMap<string, number>;
}

/** A model that returns a loss and its gradients. */
export interface GradientGraph {
  /** Its inputs: those of the block, `wrt`, and a target per output. */
  readonly model: Model;
  /** For each output of the block, the input that takes what it should be, in its shape. */
  readonly targets: ReadonlyMap<string, string>;
  /** The output that holds the loss, a scalar: Σ over outputs of weight · mean((y − target)²). */
  readonly loss: string;
  /** For each tensor of `wrt`, the output that holds its gradient, in its shape. */
  readonly gradients: ReadonlyMap<string, string>;
}

/**
 * Operators whose outputs do not change where their inputs change by little: shapes, comparisons.
 */
const STEADY = new Set([
  ...["Shape", "Size", "ConstantOfShape", "ArgMax", "ArgMin", "NonZero", "IsNaN", "IsInf"],
  ...["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not"],
]);

function isSteady(node: NodeProto): boolean {
  return isStandard(node) && STEADY.has(node.opType);
}

/** The tensors that depend on one of `wrt` smoothly, those included. */
function dependents(model: Model, wrt: readonly string[]): Set<string> {
  const dependent = new Set(wrt);
  for (const node of model.proto.graph.node) {
    if (!isSteady(node) && readsOf(node).some((name) => dependent.has(name))) {
      for (const name of node.output) dependent.add(name);
    }
  }
  dependent.delete("");
  return dependent;
}

function ruleOf(node: NodeProto): Rule | undefined {
  return isStandard(node) && !isControlFlow(node) ? RULES.get(node.opType) : undefined;
}

/**
 * The tensors of `model` that follow from the shapes of its inputs and from constants, so that they
 * are the same for every batch of a size.
 */
export function shapeValues(model: Model): Set<string> {
  const { input, node, initializer } = model.proto.graph;
  const varying = new Set(input.map(({ name }) => name));
  for (const { name } of initializer) varying.delete(name);
  const steady = new Set<string>();
  for (const each of node) {
    const ofShape = isStandard(each) && (each.opType === "Shape" || each.opType === "Size");
    const varies = !ofShape && readsOf(each).some((name) => varying.has(name));
    for (const name of each.output) (varies ? varying : steady).add(name);
  }
  return steady;
}

/**
 * The first node between `wrt` and the outputs of `model` whose operator has no gradient here. Of
 * some operators only certain forms have one: {@linkcode differentiate} tells.
 */
export function unsupported(model: Model, wrt: readonly string[]): NodeProto | undefined {
  const dependent = dependents(model, wrt);
  return model.proto.graph.node.find((node) =>
    node.output.some((name) => dependent.has(name)) && ruleOf(node) === undefined
  );
}

/**
 * The gradient graph of `model`: reverse mode, all in standard operators of the model's opset, 13
 * or later. Of activations it computes only the gradients that lead to `wrt`. Round is
 * straight-through, its gradient is 1; so a grid in Div, Round, Clip and Mul has the gradient of
 * LSQ for its step.
 *
 * @param model a part of a model, as `extract` cuts it out.
 * @param shapes the shape of each tensor that is fed or computed, for the batch that will be fed.
 *
 * @throws {AttuneError} `bad-model` where an operator in between has no gradient, or a form of it.
 *
 * @example
 * ```ts
 * import { create } from "@bufbuild/protobuf";
 * import { valueInfo } from "../graph/extract.ts";
 * import { GraphProtoSchema, ModelProtoSchema } from "../onnx/gen/onnx_pb.ts";
 * import { makeNode, type Model, setOpset } from "../onnx/model.ts";
 * import { DataType } from "../onnx/tensor.ts";
 * import { differentiate } from "./differentiate.ts";
 *
 * const graph = create(GraphProtoSchema, {
 *   input: [valueInfo("x", DataType.FLOAT), valueInfo("w", DataType.FLOAT)],
 *   node: [makeNode("MatMul", "product", ["x", "w"], ["y"])],
 *   output: [valueInfo("y")],
 * });
 * const proto = create(ModelProtoSchema, { graph }) as Model["proto"];
 * const model: Model = { proto, name: "block" };
 * setOpset(model, 17);
 * const shapes = new Map([["x", [2, 3]], ["w", [3, 4]], ["y", [2, 4]]]);
 * const { model: gradient, gradients } = differentiate(model, shapes, { wrt: ["w"] });
 * const outputs = gradient.proto.graph.output.map(({ name }) => name);
 * if (outputs[1] !== gradients.get("w")) throw new Error("unexpected");
 * ```
 */
export function differentiate(
  model: Model,
  shapes: ReadonlyMap<string, readonly number[]>,
  { wrt, lossWeights, values }: GradientOptions,
): GradientGraph {
  const result = copyModel(model), { graph } = result.proto;
  const needGradient = dependents(model, wrt);
  const constants = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  const ints = (name: string) => {
    const tensor = constants.get(name);
    return tensor === undefined ? values?.get(name) : readInts(tensor);
  };
  const constantShapes = new Map(graph.initializer.map((tensor) => [tensor.name, dimsOf(tensor)]));
  const allShapes = new Map([...constantShapes, ...shapes]);
  const tape = new Tape(allShapes, tensorNames(model), opsetOf(model));
  const { targets, loss } = squaredErrors(tape, graph, needGradient, lossWeights);
  for (const node of graph.node.toReversed()) {
    const gradients = node.output.map((name) =>
      needGradient.has(name) ? tape.gradient(name) : undefined
    );
    if (gradients.every((gradient) => gradient === undefined)) continue;
    differentiateNode(tape, node, { gradients, needGradient, ints });
  }
  const gradients = new Map(wrt.map((name) => {
    const gradient = tape.gradient(name) ?? tape.expand(tape.scalar(0), tape.shape(name));
    // Two parameters may have one gradient, and outputs need names of their own.
    return [name, tape.node("Identity", [gradient], tape.shape(name))];
  }));
  graph.node.push(...tape.nodes);
  graph.initializer.push(...tape.initializers);
  const inputs = new Map<string, DataType>(
    graph.input.map(({ name, type }) => [
      name,
      (type?.value.case === "tensorType" ? type.value.value.elemType : DataType.FLOAT) as DataType,
    ]),
  );
  for (const name of [...wrt, ...targets.values()]) inputs.set(name, DataType.FLOAT);
  graph.output = [];
  return {
    model: typedOutputs(extract(result, { inputs, outputs: [loss, ...gradients.values()] })),
    targets,
    loss,
    gradients,
  };
}

/** `model` with all outputs declared as float32. */
function typedOutputs(model: Model): Model {
  const { graph } = model.proto;
  graph.output = graph.output.map(({ name }) => valueInfo(name, DataType.FLOAT));
  return model;
}

/**
 * Σ over outputs of weight · mean((y − target)²) as a loss on `tape`, with the gradients of the
 * outputs.
 */
function squaredErrors(
  tape: Tape,
  graph: GraphProto,
  needGradient: ReadonlySet<string>,
  lossWeights: GradientOptions["lossWeights"],
): { targets: Map<string, string>; loss: string } {
  const targets = new Map<string, string>(), losses: string[] = [];
  for (const { name } of graph.output) {
    const target = tape.fresh(`${name}_target`);
    targets.set(name, target);
    const error = tape.node("Sub", [name, target], tape.shape(name));
    const share = (lossWeights?.get(name) ?? 1) / tape.size(name);
    const axes = tape.shape(name).map((_, axis) => axis);
    const squares = tape.map("Mul", error, error);
    losses.push(tape.times(tape.reshape(tape.sum(squares, axes), []), share));
    if (needGradient.has(name)) tape.add(name, tape.times(error, 2 * share));
  }
  return { targets, loss: tape.total(losses) };
}

/** Adds to `tape` what `node` makes of the gradients of its outputs. */
function differentiateNode(
  tape: Tape,
  node: NodeProto,
  { gradients, needGradient, ints }: {
    /** Of its outputs. */
    readonly gradients: readonly (string | undefined)[];
    /** Tensors whose gradients are wanted. */
    readonly needGradient: ReadonlySet<string>;
    /** The integers that a tensor holds, where they are known. */
    readonly ints: (name: string) => readonly number[] | undefined;
  },
): void {
  const rule = ruleOf(node);
  try {
    if (rule === undefined) throw new Error(`${node.opType} has no gradient here`);
    const further = gradients.findIndex((gradient, i) => i > 0 && gradient !== undefined);
    if (further > 0 && node.opType !== "Split") {
      throw new Error(`the gradient of its output ${further} is not known here`);
    }
    const terms = node.input.map((name) => tape.terms(name));
    rule(new Site(tape, node, gradients, needGradient, ints));
    const missed = node.input.findIndex((name, i) =>
      needGradient.has(name) && tape.terms(name) === terms[i]
    );
    if (missed >= 0) throw new Error(`the gradient of its input ${missed} is not known here`);
  } catch (cause) {
    if (cause instanceof AttuneError) throw cause;
    throw new AttuneError(
      "bad-model",
      `Cannot differentiate node "${nodeName(node)}": ${(cause as Error).message}`,
      { cause },
    );
  }
}
