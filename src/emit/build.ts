/**
 * Builds the quantized model: the prepared model with its weights replaced by what was rounded, and
 * its activations passed through their grids. The same function makes the file that is deployed
 * (`qdq`), the float model that behaves like it (`float`), which calibration runs and the written file
 * is checked against, and the same with activation grids in operators that have gradients
 * (`learnable`), which block reconstruction differentiates.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { copyModel, makeNode, type Model } from "../onnx/model.ts";
import { bytesOf, DataType, floatTensor, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import { freshName, sweep, tensorNames } from "../graph/graph.ts";
import type { LayerPlan, Plan } from "../plan/plan.ts";
import type { Format } from "../plan/options.ts";
import { toTensorOrder } from "../plan/targets.ts";
import { putNested } from "./nested.ts";

/** The grid of an activation: x ≈ scale · (q − zeroPoint), q from 0 to 2^bits − 1. */
export interface ActivationGrid {
  /** Bits of a level. */
  readonly bits: 4 | 8;
  /** The step, positive. */
  readonly scale: number;
  /** The level of zero. */
  readonly zeroPoint: number;
}

/** The rounded weight of a layer. */
export interface Rounding {
  /** Integer levels, (groups·rows) × depth, row-major. */
  readonly levels: Int8Array;
  /** One scale for all, or per row and block: (groups·rows) × blocksPerRow. */
  readonly scales: Float32Array;
  /** Smallest level of each row's window, groups·rows values. */
  readonly lows: Int8Array;
  /** The bias that goes with it, groups·rows values; undefined leaves the layer's own. */
  readonly bias?: Float32Array;
  /**
   * The levels of a row that begins where they do, rising; those of other rows are moved along with
   * their smallest. Undefined where they are all integers of the window.
   */
  readonly codebook?: Int8Array;
  /** The biases in models that are cut to fewer bits, where the plan has nested grids. */
  readonly cuts?: readonly Cut[];
}

/** The bias of a layer in a model that is cut to fewer bits. */
export interface Cut extends Pick<Rounding, "bias"> {
  /** Bits that the model is cut to. */
  readonly width: number;
}

/** What is known of the quantized model so far. */
export interface Parts {
  /** Rounded weights by layer name. Layers without one stay in float. */
  readonly roundings: ReadonlyMap<string, Rounding>;
  /** Grids by tensor name. Activations without one stay in float. */
  readonly grids: ReadonlyMap<string, ActivationGrid>;
}

/** What {@linkcode buildModel} makes. */
export type BuildFormat = Format | "learnable";

/** The initializer of a learnable model that holds the step of the activation `name`, a scalar. */
export function stepName(name: string): string {
  return `${name}_attune_step`;
}

/** What a graph input with a grid is called once it went through the grid. */
const DEQUANTIZED_INPUT = "_attune_dequantized";

/** The tensor that the readers of `name` see in a model of {@linkcode buildModel}. */
export function tensorAsRead(plan: Plan, parts: Parts, name: string): string {
  const isInput = plan.graph.inputs.some((input) => input.name === name);
  return isInput && parts.grids.has(name) ? name + DEQUANTIZED_INPUT : name;
}

/** The quantized model of `plan` from its `parts`, in `format`. */
export function buildModel(plan: Plan, parts: Parts, format: BuildFormat): Model {
  const model = copyModel(plan.model);
  const names = tensorNames(model);
  const nodes = new Map(plan.model.proto.graph.node.map((n, i) => [n, model.proto.graph.node[i]]));
  const context: Context = { plan, parts, format, model, names, front: [], biases: new Map() };
  const done = new Set<string>();
  for (const layer of plan.layers) {
    const rounding = parts.roundings.get(layer.target.name);
    if (rounding === undefined) continue;
    if (!done.has(layer.target.weight)) putWeight(context, layer, rounding);
    done.add(layer.target.weight);
    if (rounding.bias) putBias(context, layer, rounding, nodes.get(layer.target.node)!);
  }
  putActivations(context);
  model.proto.graph.node.unshift(...context.front);
  sweep(model);
  if (format === "qdq") putNested(model, plan, parts, context.biases);
  return model;
}

interface Context {
  readonly plan: Plan;
  readonly parts: Parts;
  readonly format: BuildFormat;
  readonly model: Model;
  /** Names in use. */
  readonly names: Set<string>;
  /** Nodes that read only initializers; they go first. */
  readonly front: NodeProto[];
  /** Names of the biases that were put in, by layer name. */
  readonly biases: Map<string, string>;
}

/** Sets the initializer `tensor.name`, new or in place of the old one. */
function setInitializer(model: Model, tensor: TensorProto): void {
  const { initializer } = model.proto.graph;
  const index = initializer.findIndex((t) => t.name === tensor.name);
  if (index < 0) initializer.push(tensor);
  else initializer[index] = tensor;
}

/** The real weights that `rounding` stands for: levels times scales, (groups·rows) × depth. */
export function dequantize(layer: LayerPlan, { levels, scales }: Rounding): Float32Array {
  const { depth } = layer.target;
  const { blockSize, blocksPerRow } = layer;
  const values = new Float32Array(levels.length);
  for (let row = 0, i = 0; i < levels.length; row++) {
    for (let j = 0; j < depth; j++, i++) {
      const block = row * blocksPerRow + Math.floor(j / blockSize);
      values[i] = levels[i] * scales[scales.length === 1 ? 0 : block];
    }
  }
  return values;
}

function putWeight(context: Context, layer: LayerPlan, rounding: Rounding): void {
  const { model, names, front } = context;
  const { weight, shape, axis } = layer.target;
  if (context.format !== "qdq") {
    const values = toTensorOrder(layer.target, dequantize(layer, rounding));
    setInitializer(model, floatTensor(weight, shape, values));
    return;
  }
  // The dequantized tensor takes the weight's name, so that whoever reads it needs no change.
  const { initializer } = model.proto.graph;
  initializer.splice(initializer.findIndex((t) => t.name === weight), 1);
  const quantized = freshName(`${weight}_quantized`, names);
  const scale = freshName(`${weight}_scale`, names);
  const zero = freshName(`${weight}_zero_point`, names);
  const type = layer.storedBits === 4 ? DataType.INT4 : DataType.INT8;
  const blocked = layer.blocksPerRow > 1;
  // Blocks run along the matrix's depth, so a blocked weight is kept as that matrix.
  const dims = blocked ? [layer.target.groups * layer.target.rows, layer.target.depth] : shape;
  const zeros = zeroPoints(layer, rounding);
  const stored = rounding.levels.map((level, i) =>
    level + zeros[Math.floor(i / layer.target.depth)]
  );
  const levels = blocked ? stored : toTensorOrder(layer.target, stored);
  const scaleDims = rounding.scales.length === 1
    ? []
    : blocked
    ? [dims[0], layer.blocksPerRow]
    : [rounding.scales.length];
  initializer.push(
    rawTensor(quantized, type, dims, storeLevels(levels, type)),
    floatTensor(scale, scaleDims, rounding.scales),
    rawTensor(zero, type, scaleDims, storeLevels(perScale(layer, rounding, zeros), type)),
  );
  const input = [quantized, scale, zero];
  if (!blocked) {
    front.push(
      makeNode("DequantizeLinear", freshName(`${weight}_dequantize`, names), input, [weight], {
        ...(scaleDims.length > 0 && { axis: BigInt(axis) }),
      }),
    );
    return;
  }
  const matrix = freshName(`${weight}_matrix`, names);
  front.push(
    makeNode("DequantizeLinear", freshName(`${weight}_dequantize`, names), input, [matrix], {
      axis: 1n,
      block_size: BigInt(layer.blockSize),
    }),
    ...matrixToTensor(context, layer, matrix),
  );
}

/**
 * What the file adds to the levels of each row, groups·rows values: nothing where the row's window fits
 * between the smallest and largest integer of the storage, which only windows of as many bits do not.
 */
function zeroPoints({ storedBits, windows }: LayerPlan, { lows }: Rounding): Int8Array {
  const least = -(2 ** (storedBits - 1)), most = -least - 1;
  return lows.map((lo) => lo < least || lo + windows.span > most ? least - lo : 0);
}

/** A value for each scale, from one for each row. */
function perScale(layer: LayerPlan, { scales }: Rounding, rows: Int8Array): Int8Array {
  const { blocksPerRow } = layer;
  return Int8Array.from(scales, (_, i) => rows[Math.floor(i / blocksPerRow)]);
}

/** Nodes that turn the matrix W back into the layer's weight tensor. */
function matrixToTensor(context: Context, layer: LayerPlan, matrix: string): NodeProto[] {
  const { model, names } = context;
  const { op, weight, shape, axis, groups, rows, depth } = layer.target;
  const reshape = (input: string, output: string, dims: number[]) => {
    const to = freshName(`${output}_shape`, names);
    model.proto.graph.initializer.push(int64Tensor(to, [dims.length], dims));
    return makeNode("Reshape", freshName(`${output}_reshape`, names), [input, to], [output]);
  };
  const transpose = (input: string, output: string, perm: bigint[]) =>
    makeNode("Transpose", freshName(`${output}_transpose`, names), [input], [output], { perm });
  if (op === "ConvTranspose") {
    const taps = shape.slice(2).reduce((a, b) => a * b, 1);
    const split = freshName(`${weight}_split`, names),
      turned = freshName(`${weight}_turned`, names);
    return [
      reshape(matrix, split, [groups, rows, depth / taps, taps]),
      transpose(split, turned, [0n, 2n, 1n, 3n]),
      reshape(turned, weight, [...shape]),
    ];
  }
  return op !== "Conv" && axis === 1
    ? [transpose(matrix, weight, [1n, 0n])]
    : [reshape(matrix, weight, [...shape])];
}

/** Levels as ONNX stores them: 4-bit integers two to a byte, the first in the low half. */
export function storeLevels(levels: Int8Array, type: DataType): Uint8Array {
  if (type === DataType.INT8) return bytesOf(levels);
  const bytes = new Uint8Array(Math.ceil(levels.length / 2));
  for (let i = 0; i < levels.length; i++) bytes[i >> 1] |= (levels[i] & 15) << (4 * (i & 1));
  return bytes;
}

/**
 * The scale of a bias level per channel: input scale × weight scale; undefined where it is float, as
 * with inputs of 4 bits: no integer kernel takes those, and the steps would be coarse.
 */
export function biasScales(
  layer: LayerPlan,
  scales: Float32Array,
  inputGrid: ActivationGrid | undefined,
): Float32Array | undefined {
  if (inputGrid?.bits !== 8 || layer.blocksPerRow > 1) return undefined;
  const { groups, rows } = layer.target;
  return Float32Array.from(
    { length: groups * rows },
    (_, row) => inputGrid.scale * (scales.length === 1 ? scales[0] : scales[row]),
  );
}

function putBias(context: Context, layer: LayerPlan, rounding: Rounding, node: NodeProto): void {
  const { model, names, parts } = context;
  const bias = rounding.bias!;
  const name = freshName(`${layer.target.weight}_bias`, names);
  const inputs = [...node.input];
  while (inputs.length < 2) inputs.push("");
  node.input = [inputs[0], inputs[1], name];
  context.biases.set(layer.target.name, name);
  const grid = gridOf(context, layer.target.input);
  const scales = biasScales(layer, rounding.scales, parts.grids.get(grid ?? ""));
  if (context.format !== "qdq" || scales === undefined) {
    setInitializer(model, floatTensor(name, [bias.length], bias));
    return;
  }
  const quantized = freshName(`${name}_quantized`, names),
    scale = freshName(`${name}_scale`, names);
  const levels = Int32Array.from(bias, (value, c) => Math.round(value / scales[c]));
  model.proto.graph.initializer.push(
    rawTensor(quantized, DataType.INT32, [bias.length], bytesOf(levels)),
    floatTensor(scale, [bias.length], scales),
  );
  context.front.push(
    makeNode("DequantizeLinear", freshName(`${name}_dequantize`, names), [quantized, scale], [
      name,
    ], { axis: 0n }),
  );
}

/** The tensor whose grid `name` uses: itself, or the one that it shares. */
function gridOf({ plan, parts }: Context, name: string): string | undefined {
  const source = plan.activations.shared.get(name) ?? name;
  return parts.grids.has(source) ? source : undefined;
}

/**
 * Nodes that pass `from` through the grid of `source` into `to`: clip(round(x / s), −z, p − z) · s. The
 * clipping may come before the offset z, so that a straight-through Round leaves the gradients of LSQ.
 */
function learnableGrid(context: Context, from: string, to: string, source: string): NodeProto[] {
  const { model, names, parts } = context;
  const { bits, scale, zeroPoint } = parts.grids.get(source)!;
  const { initializer } = model.proto.graph;
  const step = stepName(source);
  if (!initializer.some((tensor) => tensor.name === step)) {
    initializer.push(floatTensor(step, [], Float32Array.of(scale)));
  }
  const bound = (end: string, value: number) => {
    const name = freshName(`${to}_${end}`, names);
    initializer.push(floatTensor(name, [], Float32Array.of(value)));
    return name;
  };
  const [ratio, whole, level] = ["ratio", "whole", "level"].map((stage) =>
    freshName(`${to}_${stage}`, names)
  );
  const bounds = [bound("least", -zeroPoint), bound("most", 2 ** bits - 1 - zeroPoint)];
  return [
    makeNode("Div", freshName(`${to}_divide`, names), [from, step], [ratio]),
    makeNode("Round", freshName(`${to}_round`, names), [ratio], [whole]),
    makeNode("Clip", freshName(`${to}_clip`, names), [whole, ...bounds], [level]),
    makeNode("Mul", freshName(`${to}_scale`, names), [level, step], [to]),
  ];
}

/** Passes every activation that has a grid through it. */
function putActivations(context: Context): void {
  const { model, names, plan, parts } = context;
  const { graph } = model.proto;
  const parameters = new Map<string, [scale: string, zero: string]>();
  const parametersOf = (source: string): [string, string] => {
    let pair = parameters.get(source);
    if (pair === undefined) {
      const { bits, scale, zeroPoint } = parts.grids.get(source)!;
      const type = bits === 4 ? DataType.UINT4 : DataType.UINT8;
      pair = [freshName(`${source}_scale`, names), freshName(`${source}_zero_point`, names)];
      graph.initializer.push(
        floatTensor(pair[0], [], new Float32Array([scale])),
        rawTensor(pair[1], type, [], new Uint8Array([zeroPoint])),
      );
      parameters.set(source, pair);
    }
    return pair;
  };
  const through = (from: string, to: string, source: string): NodeProto[] => {
    if (context.format === "learnable") return learnableGrid(context, from, to, source);
    const quantized = freshName(`${source}_quantized`, names);
    const pair = parametersOf(source);
    return [
      makeNode("QuantizeLinear", freshName(`${from}_quantize`, names), [from, ...pair], [
        quantized,
      ]),
      makeNode("DequantizeLinear", freshName(`${to}_dequantize`, names), [quantized, ...pair], [
        to,
      ]),
    ];
  };
  const nodes: NodeProto[] = [];
  for (const input of plan.graph.inputs) {
    if (!parts.grids.has(input.name)) continue;
    // An input keeps its name, so its readers move to the dequantized tensor.
    const to = tensorAsRead(plan, parts, input.name);
    nodes.push(...through(input.name, to, input.name));
    for (const node of graph.node) {
      node.input = node.input.map((name) => name === input.name ? to : name);
    }
  }
  for (const node of graph.node) {
    nodes.push(node);
    node.output = node.output.map((name) => {
      const source = name === "" ? undefined : gridOf(context, name);
      if (source === undefined) return name;
      const raw = freshName(`${name}_raw`, names);
      nodes.push(...through(raw, name, source));
      return raw;
    });
  }
  graph.node = nodes;
}
