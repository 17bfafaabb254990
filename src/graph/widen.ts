/**
 * A model that computes in 16-bit floats as one that computes in float32, as onnxruntime does on a
 * CPU anyway. Its inputs and outputs keep their types, its weights their bytes until layers want
 * them.
 *
 * @module
 */

import type { GraphProto, NodeProto, ValueInfoProto } from "../onnx/gen/onnx_pb.ts";
import { attributeOf, copyMessage, intAttribute, makeNode, type Model } from "../onnx/model.ts";
import { DataType } from "../onnx/tensor.ts";
import { tensorsOf } from "../onnx/tensors.ts";
import { AttuneError } from "../errors.ts";
import { compute } from "./constant_operators.ts";
import { constantTensor, readConstant } from "./constant_values.ts";
import { bodiesOf, freshName, isStandard, nodeName, tensorNames } from "./graph.ts";
import { bypass, renameReads } from "./rename.ts";

/** Attributes that name an element type. */
const TYPE_ATTRIBUTES = new Set(["to", "dtype", "output_datatype"]);
/** Operators whose first output has the type of their first input. */
const SAME_TYPE = new Set([
  ...["Add", "Sub", "Mul", "Div", "Pow", "MatMul", "Gemm", "Conv", "ConvTranspose", "Identity"],
  ...["Relu", "LeakyRelu", "PRelu", "Elu", "Gelu", "Erf", "Sigmoid", "HardSigmoid", "HardSwish"],
  ...[
    "Tanh",
    "Softmax",
    "LogSoftmax",
    "Softplus",
    "Clip",
    "Sqrt",
    "Reciprocal",
    "Neg",
    "Exp",
    "Log",
  ],
  ...["Abs", "Max", "Min", "LayerNormalization", "BatchNormalization", "InstanceNormalization"],
  ...[
    "Reshape",
    "Transpose",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Slice",
    "Split",
    "Gather",
  ],
  ...["Expand", "Pad", "Tile", "Resize", "MaxPool", "AveragePool", "GlobalAveragePool"],
  ...["GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "DepthToSpace", "SpaceToDepth"],
]);

/**
 * Turns what `model` computes in 16-bit floats into float32, and drops the Casts between the two.
 * A model that only keeps its weights in 16 bits, behind Casts of its own, stays as it is.
 *
 * @returns how many nodes and tensors were widened; `model` is changed.
 * @throws {AttuneError} `bad-model` where a custom operator would have to take part.
 */
export function widenHalves(model: Model): number {
  const { graph } = model.proto;
  if (!computesInHalves(model)) return 0;
  const widener = new Widener(model);
  widener.openEnds();
  widener.widen(graph);
  const types = typesIn(graph);
  bypass(graph, (node) =>
    node.opType === "Cast" && isStandard(node) &&
    intAttribute(node, "to", 0) === DataType.FLOAT && types.get(node.input[0]) === DataType.FLOAT);
  return widener.count;
}

function isHalf(type: number | undefined): boolean {
  return type === DataType.FLOAT16 || type === DataType.BFLOAT16;
}

function typeOf(value: ValueInfoProto): DataType | undefined {
  return value.type?.value.case === "tensorType" ? value.type.value.value.elemType : undefined;
}

/** Whether `model` does more with 16-bit floats than to cast constants. */
function computesInHalves(model: Model): boolean {
  const { graph } = model.proto;
  if ([...graph.input, ...graph.output].some((value) => isHalf(typeOf(value)))) return true;
  const halves = new Set(
    graph.initializer.filter(({ dataType }) => isHalf(dataType)).map(({ name }) => name),
  );
  const stored = new Set(graph.initializer);
  if (tensorsOf(model).some((tensor) => isHalf(tensor.dataType) && !stored.has(tensor))) {
    return true;
  }
  const within = (nodes: readonly NodeProto[]): boolean =>
    nodes.some((node) =>
      (node.opType === "Cast" && isHalf(intAttribute(node, "to", 0))) ||
      (node.opType !== "Cast" && node.input.some((name) => halves.has(name))) ||
      bodiesOf(node).some((body) => within(body.node))
    );
  return within(graph.node);
}

class Widener {
  count = 0;
  readonly #model: Model;
  readonly #names: Set<string>;

  constructor(model: Model) {
    this.#model = model;
    this.#names = tensorNames(model);
  }

  /** Puts Casts behind inputs and before outputs of 16 bits. */
  openEnds(): void {
    const { graph } = this.#model.proto, front: NodeProto[] = [];
    const reads = new Map<string, string>(), writes = new Map<string, string>();
    for (const { name } of graph.input.filter((value) => isHalf(typeOf(value)))) {
      reads.set(name, freshName(`${name}_float`, this.#names));
      front.push(this.#cast(name, reads.get(name)!, DataType.FLOAT));
    }
    const written = new Set(graph.node.flatMap(({ output }) => output));
    for (const value of graph.output.filter((value) => isHalf(typeOf(value)))) {
      if (written.has(value.name)) {
        writes.set(value.name, freshName(`${value.name}_float`, this.#names));
      }
    }
    for (const node of graph.node) {
      renameReads(node, reads);
      renameReads(node, writes);
      node.output = node.output.map((name) => writes.get(name) ?? name);
    }
    graph.node.unshift(...front);
    this.#ends = new Set(front);
    for (const value of graph.output) {
      const from = writes.get(value.name);
      if (from === undefined) continue;
      const cast = this.#cast(from, value.name, typeOf(value)!);
      this.#ends.add(cast);
      graph.node.push(cast);
    }
  }

  #ends = new Set<NodeProto>();

  /** Widens what `graph` computes with, and what is in its bodies. */
  widen(graph: GraphProto): void {
    const casts: NodeProto[] = [];
    // The default of an input stays as it is, as does the input.
    const inputs = new Set(graph.input.map((value) => value.name));
    graph.initializer = graph.initializer.map((tensor) => {
      if (!isHalf(tensor.dataType) || inputs.has(tensor.name)) return tensor;
      this.count++;
      const name = freshName(`${tensor.name}_half`, this.#names);
      casts.push(this.#cast(name, tensor.name, DataType.FLOAT));
      return Object.assign(copyMessage(tensor), { name });
    });
    for (const node of graph.node) {
      for (const body of bodiesOf(node)) {
        this.widen(body);
        body.input = body.input.map(widenedValue);
        body.output = body.output.map(widenedValue);
      }
      if (!this.#ends.has(node)) this.#widenNode(node);
    }
    graph.node.unshift(...casts);
    graph.valueInfo = graph.valueInfo.map(widenedValue);
  }

  #widenNode(node: NodeProto): void {
    if (!isStandard(node) && !node.domain.startsWith("com.microsoft")) {
      throw new AttuneError(
        "bad-model",
        `Cannot quantize ${this.#model.name}: it computes in float16, and what the operator ` +
          `${node.opType} of the domain ${node.domain} (node "${
            nodeName(node)
          }") does with float32 ` +
          `is not known; give the float32 model`,
      );
    }
    node.attribute = node.attribute.map((attribute) => {
      if (TYPE_ATTRIBUTES.has(attribute.name) && isHalf(Number(attribute.i))) {
        this.count++;
        return Object.assign(copyMessage(attribute), { i: BigInt(DataType.FLOAT) });
      }
      if (!attribute.t || !isHalf(attribute.t.dataType)) return attribute;
      this.count++;
      const value = readConstant(attribute.t, this.#model.external)!;
      const cast = this.#cast("", "", DataType.FLOAT);
      const t = constantTensor(attribute.t.name, compute(cast, [value], Infinity)!);
      return Object.assign(copyMessage(attribute), { t });
    });
  }

  #cast(from: string, to: string, type: DataType): NodeProto {
    const name = freshName(`${to}_Cast`, this.#names);
    return makeNode("Cast", name, [from], [to], { to: BigInt(type) });
  }
}

/** `value`, in float32 where it had 16 bits. */
function widenedValue(value: ValueInfoProto): ValueInfoProto {
  const { type } = value;
  if (type?.value.case !== "tensorType" || !isHalf(type.value.value.elemType)) return value;
  const tensor = Object.assign(copyMessage(type.value.value), { elemType: DataType.FLOAT });
  const widened = Object.assign(copyMessage(type), { value: { ...type.value, value: tensor } });
  return Object.assign(copyMessage(value), { type: widened });
}

/** The element types in `graph`, as far as they follow from what is said. */
function typesIn(graph: GraphProto): Map<string, DataType> {
  const types = new Map<string, DataType>();
  for (const value of [...graph.input, ...graph.valueInfo]) {
    const type = typeOf(value);
    if (type) types.set(value.name, type);
  }
  for (const { name, dataType } of graph.initializer) types.set(name, dataType);
  for (const node of graph.node) {
    if (!isStandard(node)) continue;
    const type = node.opType === "Cast"
      ? intAttribute(node, "to", 0)
      : SAME_TYPE.has(node.opType)
      ? types.get(node.input[0])
      : node.opType === "Constant"
      ? attributeOf(node, "value")?.t?.dataType
      : undefined;
    if (type) types.set(node.output[0], type);
  }
  return types;
}
