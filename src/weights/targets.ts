/**
 * The layers whose weights are quantized, each seen as a matrix W (rows × depth) that is multiplied
 * with columns of its input; and the nodes that stay in float, each with its reason.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { floatAttribute, intAttribute, intsAttribute, stringAttribute } from "../onnx/model.ts";
import { DataType, dimsOf, readFloats } from "../onnx/tensor.ts";
import {
  freshName,
  type Graph,
  isControlFlow,
  isStandard,
  nodeName,
  readsOf,
} from "../graph/graph.ts";
import { turnedWeight } from "../graph/turned_weights.ts";
import { AttuneError } from "../errors.ts";

/** Why a node stays in float. The set is closed. */
export type SkipReason =
  | "override"
  | "no constant weight"
  | "weight is not float32"
  | "weight of more than two dimensions"
  | "attribute not handled"
  | "control flow is left alone"
  | "weight is shared in another layout"
  | "weight is an output of the model"
  | "embedding table"
  | "recurrent layer"
  | "custom operator"
  | "local function"
  | "operator is not quantized"
  | "vector";

/** A node that stays in float. */
export interface Skipped {
  /** The node's name. */
  readonly name: string;
  /** Its operator. */
  readonly op: string;
  /** Why. */
  readonly reason: SkipReason;
  /** The weight that it keeps in float, where that takes more than 1 kB. */
  readonly weight?: string;
  /** Bytes of that weight. */
  readonly bytes?: number;
}

/** How columns of a layer's input are gathered. */
export type Geometry =
  | {
    /** Windows of a convolution (`transposed`: of the convolution that it is the gradient of). */
    readonly kind: "window";
    /** Whether the layer is a ConvTranspose. */
    readonly transposed: boolean;
    /** Kernel size per spatial axis; the lists below are as long. */
    readonly kernel: readonly number[];
    /** Steps between windows. */
    readonly strides: readonly number[];
    /** Distance between taps. */
    readonly dilations: readonly number[];
    /** Zeros before the first value; undefined where `autoPad` decides. */
    readonly pads?: readonly number[];
    /** ONNX's auto_pad. */
    readonly autoPad: string;
  }
  | { /** Each row of the last axis is a column: X·Wᵀ. */ readonly kind: "rows" }
  | { /** Columns of the last two axes: W·X. */ readonly kind: "columns" };

/** A layer whose weight is quantized. */
export interface Target {
  /** The node. */
  readonly node: NodeProto;
  /** What people call it: the node's name, and what tells it apart where others have that, too. */
  readonly name: string;
  /** The operator. */
  readonly op: "Conv" | "ConvTranspose" | "Gemm" | "MatMul";
  /** The tensor that enters. */
  readonly input: string;
  /** The tensor that leaves. No other layer has it: it is what layers are known by. */
  readonly output: string;
  /** The initializer that holds the weight, and which input of the node it is. */
  readonly weight: string;
  /** Index of the weight among the node's inputs. */
  readonly weightInput: 0 | 1;
  /** The weight's shape in the file. */
  readonly shape: readonly number[];
  /** The axis of `shape` that counts output channels. */
  readonly axis: number;
  /** Independent matrices: groups of a convolution. */
  readonly groups: number;
  /** Output channels per group. */
  readonly rows: number;
  /** Inputs times kernel positions, per group. */
  readonly depth: number;
  /** How columns are gathered. */
  readonly geometry: Geometry;
}

/** The layers of `graph` that can be quantized, in the order in which they run, and the rest. */
export function findTargets(graph: Graph): { targets: Target[]; skipped: Skipped[] } {
  const targets: Target[] = [], skipped: Skipped[] = [];
  const layouts = new Map<string, string>(), names = new Set<string>();
  for (const node of graph.nodes) {
    const found = isControlFlow(node) ? "control flow is left alone" : targetOf(graph, node);
    if (found === undefined) continue;
    if (typeof found === "string") {
      skipped.push({ name: nodeName(node), op: node.opType, reason: found });
      continue;
    }
    // A weight that two layers share is rounded once, so they must see the same matrix in it.
    const layout = [found.op, found.axis, found.groups, found.rows, found.depth].join();
    if ((layouts.get(found.weight) ?? layout) !== layout) {
      skipped.push({
        name: found.name,
        op: found.op,
        reason: "weight is shared in another layout",
      });
      continue;
    }
    layouts.set(found.weight, layout);
    // Node names need not differ, outputs do.
    const { name, output } = found;
    targets.push({
      ...found,
      name: freshName(names.has(name) ? `${name} (${output})` : name, names),
    });
  }
  return { targets, skipped };
}

/** The initializer that is input `index` of `node`; a MatMul may read it through a Transpose. */
function weightOf(graph: Graph, node: NodeProto, index: number): TensorProto | undefined {
  const name = node.input[index];
  const turned = node.opType === "MatMul" ? turnedWeight(graph, name) : undefined;
  return graph.constant(turned ?? name);
}

/** `node` as a target, the reason why it is none, or undefined where it has no weights. */
function targetOf(graph: Graph, node: NodeProto): Target | SkipReason | undefined {
  if (!isStandard(node)) return undefined;
  const { opType: op } = node;
  if (op !== "Conv" && op !== "ConvTranspose" && op !== "Gemm" && op !== "MatMul") return undefined;
  const weightInput = op === "MatMul" && weightOf(graph, node, 0) ? 0 : 1;
  const tensor = weightOf(graph, node, weightInput);
  const input = node.input[1 - weightInput];
  if (tensor === undefined) return "no constant weight";
  // Constant times constant: onnxruntime folds it.
  if (graph.constant(input) || graph.isSteady(input)) return undefined;
  if (graph.isOutput(tensor.name)) return "weight is an output of the model";
  if (tensor.dataType !== DataType.FLOAT) return "weight is not float32";
  const shape = dimsOf(tensor);
  const common = {
    node,
    name: nodeName(node),
    input,
    output: node.output[0],
    weight: tensor.name,
    weightInput,
    shape,
  } as const;
  if (shape.some((dim) => dim < 1)) return "attribute not handled";
  if (op === "MatMul") {
    if (shape.length !== 2) return "weight of more than two dimensions";
    const left = weightInput === 0, turned = tensor.name !== node.input[weightInput];
    const axis = left === turned ? 1 : 0;
    return {
      ...common,
      op,
      axis,
      groups: 1,
      rows: shape[axis],
      depth: shape[1 - axis],
      geometry: { kind: left ? "columns" : "rows" },
    };
  }
  if (op === "Gemm") {
    const plain = intAttribute(node, "transA", 0) === 0 &&
      floatAttribute(node, "alpha", 1) === 1 && floatAttribute(node, "beta", 1) === 1;
    if (!plain || shape.length !== 2) return "attribute not handled";
    const axis = intAttribute(node, "transB", 0) === 1 ? 0 : 1;
    return {
      ...common,
      op,
      axis,
      groups: 1,
      rows: shape[axis],
      depth: shape[1 - axis],
      geometry: { kind: "rows" },
    };
  }
  const spatial = shape.length - 2;
  if (spatial < 1) return "attribute not handled";
  checkWindow(graph, node, spatial);
  const groups = intAttribute(node, "group", 1);
  const ones = new Array<number>(spatial).fill(1);
  const transposed = op === "ConvTranspose";
  if (intsAttribute(node, "output_shape")) return "attribute not handled";
  const autoPad = stringAttribute(node, "auto_pad", "NOTSET");
  if (transposed && autoPad !== "NOTSET" && autoPad !== "VALID") return "attribute not handled";
  const taps = shape.slice(2).reduce((a, b) => a * b, 1);
  if (shape[0] % groups !== 0) return "attribute not handled";
  const geometry: Geometry = {
    kind: "window",
    transposed,
    kernel: shape.slice(2),
    strides: intsAttribute(node, "strides") ?? ones,
    dilations: intsAttribute(node, "dilations") ?? ones,
    pads: autoPad === "NOTSET"
      ? (intsAttribute(node, "pads") ?? ones.map(() => 0)).slice(0, spatial)
      : autoPad === "VALID"
      ? ones.map(() => 0)
      : undefined,
    autoPad,
  };
  return transposed
    ? {
      ...common,
      op,
      // With one input channel per group, axis 0 counts the groups, which are the channels.
      axis: groups > 1 && shape[1] === 1 ? 0 : 1,
      groups,
      rows: shape[1],
      depth: shape[0] / groups * taps,
      geometry,
    }
    : {
      ...common,
      op,
      axis: 0,
      groups,
      rows: shape[0] / groups,
      depth: shape[1] * taps,
      geometry,
    };
}

/** Refuses what no convolution over `spatial` axes has. */
function checkWindow(graph: Graph, node: NodeProto, spatial: number): void {
  const refuse = (attribute: string, value: unknown) =>
    new AttuneError(
      "bad-model",
      `Cannot use ${graph.model.name}: node "${
        nodeName(node)
      }" (${node.opType}) has ${attribute} ` +
        `${value}, which no such node can have; the file is damaged, export it anew`,
    );
  const groups = intAttribute(node, "group", 1);
  if (!(groups >= 1)) throw refuse("group", groups);
  for (const [name, count] of [["strides", 1], ["dilations", 1], ["pads", 2]] as const) {
    const values = intsAttribute(node, name) ?? [];
    if (values.length > 0 && values.length !== count * spatial) throw refuse(name, values);
    if (name !== "pads" && values.some((value) => value < 1)) throw refuse(name, values);
  }
}

/**
 * For each element of the matrix W (groups·rows × depth, row-major), its place in the weight tensor;
 * undefined where the two are the same.
 */
function permutation(target: Target): Int32Array | undefined {
  const { op, groups, rows, depth } = target;
  const transposedMatrix = (op === "Gemm" || op === "MatMul") && target.axis === 1;
  if (!transposedMatrix && op !== "ConvTranspose") return undefined;
  const places = new Int32Array(groups * rows * depth);
  if (transposedMatrix) {
    for (let r = 0, i = 0; r < rows; r++) {
      for (let j = 0; j < depth; j++) places[i++] = j * rows + r;
    }
    return places;
  }
  // ConvTranspose keeps (groups·inputs) × rows × taps.
  const taps = target.shape.slice(2).reduce((a, b) => a * b, 1);
  const inputs = depth / taps;
  for (let g = 0, i = 0; g < groups; g++) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < inputs; c++) {
        for (let t = 0; t < taps; t++) places[i++] = ((g * inputs + c) * rows + r) * taps + t;
      }
    }
  }
  return places;
}

/**
 * The weight of `target` as its matrix W, (groups·rows) × depth, row-major.
 *
 * @throws {AttuneError} `bad-model` where a value is not finite.
 */
export function readWeight(graph: Graph, target: Target): Float32Array {
  return toMatrixOrder(target, readFinite(graph, target));
}

/** The values of the weight of `target` in the file's order; throws `bad-model` where one is not finite. */
export function readFinite(graph: Graph, target: Target): Float32Array {
  const values = readFloats(graph.constant(target.weight)!, graph.model.external);
  for (const value of values) {
    if (!Number.isFinite(value)) {
      throw new AttuneError(
        "bad-model",
        `Cannot quantize node "${target.name}": its weight "${target.weight}" holds ${value}; ` +
          `leave the node in float`,
        { remedies: [{ option: "overrides", value: { pattern: target.name, bits: "skip" } }] },
      );
    }
  }
  return values;
}

/** A matrix of (groups·rows) × depth values in the order of `target`'s weight tensor. */
export function toTensorOrder<T extends Float32Array | Int8Array>(target: Target, matrix: T): T {
  const places = permutation(target);
  if (places === undefined) return matrix;
  const out = matrix.slice() as T;
  places.forEach((place, i) => out[place] = matrix[i]);
  return out;
}

/** The inverse of {@linkcode toTensorOrder}: values in the tensor's order as the matrix W. */
export function toMatrixOrder(target: Target, tensor: Float32Array): Float32Array {
  const places = permutation(target);
  return places ? Float32Array.from(places, (place) => tensor[place]) : tensor;
}

/** The targets without another target before them, and those without one after them. */
export function edgeTargets(graph: Graph, targets: readonly Target[]): Set<Target> {
  const outputs = new Set(targets.map((target) => target.output));
  const below = reach(graph.nodes, outputs);
  const inputs = new Set(targets.map((target) => target.input));
  const above = reachBack(graph.nodes, inputs);
  return new Set(targets.filter((t) => !below.has(t.input) || !above.has(t.output)));
}

/** All tensors that depend on one of `start`, those included. */
function reach(nodes: readonly NodeProto[], start: ReadonlySet<string>): Set<string> {
  const seen = new Set(start);
  for (const node of nodes) {
    if (readsOf(node).some((name) => seen.has(name))) {
      for (const name of node.output) seen.add(name);
    }
  }
  return seen;
}

/** All tensors that one of `end` depends on, those included. */
function reachBack(nodes: readonly NodeProto[], end: ReadonlySet<string>): Set<string> {
  const seen = new Set(end);
  for (const node of nodes.toReversed()) {
    if (node.output.some((name) => seen.has(name))) {
      for (const name of readsOf(node)) seen.add(name);
    }
  }
  return seen;
}
