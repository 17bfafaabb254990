/**
 * The standard operators whose definition changed between opsets 9 and 25, and how a node of the
 * old definition is written in the new one. Operators that only took more types, more optional
 * inputs or attributes with the old meaning as default are not listed: they stay as they are.
 *
 * @module
 */

import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import {
  attributeOf,
  type AttributeValue,
  floatAttribute,
  intAttribute,
  makeAttribute,
  makeNode,
  stringAttribute,
} from "../../onnx/model.ts";
import { nodeName } from "../graph.ts";
import type { Scope } from "./scope.ts";

/** One change of an operator's definition. */
export interface Adapter {
  /** The opset that brought the new definition. */
  readonly to: number;
  /** The operators that changed in this way. */
  readonly ops: readonly string[];
  /** What is done to a node, in words. */
  readonly change: string;
  /**
   * The nodes that take the place of `node`, which may be changed itself; they leave their result
   * under its old name. `"unchanged"` where the node means the same in both definitions.
   */
  readonly adapt: (node: NodeProto, scope: Scope) => NodeProto[] | "unchanged";
}

/** In the order in which they are applied: by opset. */
export const ADAPTERS: readonly Adapter[] = [
  {
    to: 10,
    ops: ["Slice"],
    change: "starts, ends and axes became inputs",
    adapt: (node, scope) => {
      listToInput(node, "starts", 1, scope);
      listToInput(node, "ends", 2, scope);
      listToInput(node, "axes", 3, scope);
      return [node];
    },
  },
  {
    to: 10,
    ops: ["TopK"],
    change: "k became an input",
    adapt: (node, scope) => {
      node.input[1] = scope.addInts(node, "k", [attributeOf(node, "k")?.i ?? 0n]);
      removeAttributes(node, "k");
      return [node];
    },
  },
  // Upsample skips the Resize of opset 10. Both get the inputs that opset 13 asks for: no roi.
  { to: 11, ops: ["Upsample"], change: "became Resize", adapt: upsampleToResize },
  { to: 11, ops: ["Resize"], change: "coordinates made explicit", adapt: resize11 },
  {
    to: 11,
    ops: ["Clip"],
    change: "min and max became inputs",
    adapt: (node, scope) => {
      const casts: NodeProto[] = [];
      const bounds = ["min", "max"].map((bound) => {
        const attribute = attributeOf(node, bound);
        return attribute ? scope.addFloat(node, bound, attribute.f, node.input[0], casts) : "";
      });
      node.input = trimmed([node.input[0], ...bounds]);
      removeAttributes(node, "min", "max");
      return [...casts, node];
    },
  },
  {
    to: 11,
    ops: ["Pad"],
    change: "pads and value became inputs",
    adapt: (node, scope) => {
      const casts: NodeProto[] = [];
      const value = floatAttribute(node, "value", 0);
      listToInput(node, "pads", 1, scope);
      if (value !== 0) {
        node.input[2] = scope.addFloat(node, "value", value, node.input[0], casts);
      }
      removeAttributes(node, "value");
      return [...casts, node];
    },
  },
  {
    to: 11,
    ops: ["Scatter"],
    change: "became ScatterElements",
    adapt: (node) => {
      node.opType = "ScatterElements";
      return [node];
    },
  },
  {
    to: 12,
    ops: ["Dropout"],
    change: "the ratio, which inference ignores, was removed",
    adapt: (node, scope) => {
      const mask = node.output[1] ?? "";
      if (scope.isRead(mask)) scope.refuse(node, 12, `gives its mask "${mask}" as floats`);
      node.output = [node.output[0]];
      removeAttributes(node, "ratio");
      return [node];
    },
  },
  {
    to: 13,
    ops: ["Squeeze", "Unsqueeze", "ReduceSum"],
    change: "axes became an input",
    adapt: (node, scope) => listToInput(node, "axes", 1, scope),
  },
  {
    to: 13,
    ops: ["Split"],
    change: "split became an input",
    adapt: (node, scope) => listToInput(node, "split", 1, scope),
  },
  {
    to: 13,
    ops: ["Softmax", "LogSoftmax", "Hardmax"],
    change: "made to work on one axis",
    adapt: softmax13,
  },
  { to: 13, ops: ["Resize"], change: "coordinates renamed", adapt: resize13 },
  {
    to: 14,
    ops: ["BatchNormalization"],
    change: "checked for training mode",
    adapt: (node, scope) => {
      // That they have a name, read or not, was how training was switched on.
      const named = node.output.slice(1).find((name) => name !== "");
      if (named !== undefined) scope.refuse(node, 14, `is in training mode (output "${named}")`);
      return "unchanged";
    },
  },
  {
    to: 16,
    ops: ["RoiAlign"],
    change: "coordinates made explicit",
    adapt: (node) => {
      setAttribute(node, "coordinate_transformation_mode", "output_half_pixel");
      return [node];
    },
  },
  {
    to: 18,
    ops: [
      ...["ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2"],
      ...["ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"],
    ],
    change: "axes became an input",
    adapt: (node, scope) => listToInput(node, "axes", 1, scope),
  },
  {
    to: 18,
    ops: ["Split"],
    change: "the number of outputs made explicit",
    adapt: (node) => {
      if (node.input[1]) return "unchanged";
      setAttribute(node, "num_outputs", BigInt(node.output.length));
      return [node];
    },
  },
  {
    to: 20,
    ops: ["GridSample"],
    change: "mode renamed",
    adapt: (node) => {
      const mode = stringAttribute(node, "mode", "bilinear");
      if (mode === "nearest") return "unchanged";
      setAttribute(node, "mode", mode === "bicubic" ? "cubic" : "linear");
      return [node];
    },
  },
  {
    to: 20,
    ops: ["DFT"],
    change: "axis became an input",
    adapt: (node, scope) => {
      const axis = BigInt(intAttribute(node, "axis", 1));
      node.input = [node.input[0], node.input[1] ?? "", scope.addInts(node, "axis", axis)];
      removeAttributes(node, "axis");
      return [node];
    },
  },
  {
    to: 21,
    ops: ["GroupNormalization"],
    change: "scale and bias repeated for each channel",
    adapt: groupNormalization21,
  },
];

/** Moves the integer list `name` from the attributes of `node` to the input at `position`. */
function listToInput(
  node: NodeProto,
  name: string,
  position: number,
  scope: Scope,
): NodeProto[] | "unchanged" {
  const list = attributeOf(node, name)?.ints;
  if (list === undefined) return "unchanged";
  removeAttributes(node, name);
  // An empty list of axes meant all of them, as no input does.
  if (list.length > 0) node.input[position] = scope.addInts(node, name, list);
  return [node];
}

/**
 * Upsample's grid is that of Resize with asymmetric coordinates, rounded down: its scales are ≥ 1.
 */
function upsampleToResize(node: NodeProto): NodeProto[] {
  node.opType = "Resize";
  return [asymmetricResize(node, node.input, node.output, "floor")];
}

/**
 * Resize of opset 10 has no coordinate modes: it is asymmetric, and its `nearest` rounds down along
 * an axis that grows and up along one that shrinks. The new Resize rounds all axes alike, so where
 * both occur, or the scales are computed, one Resize grows and a second one shrinks.
 */
function resize11(node: NodeProto, scope: Scope): NodeProto[] | "unchanged" {
  // A Resize that was an Upsample is of the new definition already.
  if (attributeOf(node, "coordinate_transformation_mode") !== undefined) return "unchanged";
  const { input: [x, scales], output } = node;
  const values = scope.constant(scales);
  const grows = values?.every((scale) => scale >= 1);
  if (grows || stringAttribute(node, "mode", "nearest") === "linear") {
    return [asymmetricResize(node, [x, scales], output, "floor")];
  }
  if (values?.every((scale) => scale <= 1)) {
    return [asymmetricResize(node, [x, scales], output, "ceil")];
  }
  const nodes: NodeProto[] = [];
  const one = scope.addFloat(node, "one", 1, scales, nodes);
  const [up, down, grown] = ["up", "down", "grown"].map((s) =>
    scope.fresh(`${nodeName(node)}_${s}`)
  );
  const grow = asymmetricResize(node, [x, up], [grown], "floor");
  grow.name = grown;
  return [
    makeNode("Max", up, [scales, one], [up]),
    makeNode("Min", down, [scales, one], [down]),
    grow,
    asymmetricResize(node, [grown, down], output, "ceil"),
  ];
}

function asymmetricResize(
  node: NodeProto,
  [x, scales]: string[],
  output: string[],
  nearest: "floor" | "ceil",
): NodeProto {
  const linear = stringAttribute(node, "mode", "nearest") !== "nearest";
  return makeNode("Resize", nodeName(node), [x, "", scales], output, {
    mode: linear ? "linear" : "nearest",
    coordinate_transformation_mode: "asymmetric",
    ...(linear ? {} : { nearest_mode: nearest }),
  });
}

/**
 * Opset 13 dropped `tf_half_pixel_for_nn`, x = (y + ½)/s. Rounded down, that is
 * `half_pixel`, x = (y + ½)/s − ½, rounded to nearest with halves up.
 */
function resize13(node: NodeProto, scope: Scope): NodeProto[] | "unchanged" {
  const mode = stringAttribute(node, "coordinate_transformation_mode", "half_pixel");
  if (mode !== "tf_half_pixel_for_nn") return "unchanged";
  if (stringAttribute(node, "nearest_mode", "round_prefer_floor") !== "floor") {
    scope.refuse(node, 13, `uses ${mode} with a nearest_mode other than "floor"`);
  }
  setAttribute(node, "coordinate_transformation_mode", "half_pixel");
  setAttribute(node, "nearest_mode", "round_prefer_ceil");
  return [node];
}

/**
 * Before opset 13, Softmax flattened its input to a matrix at `axis` and worked on the rows; since
 * then it works along `axis` alone. That is the same where `axis` is the last.
 */
function softmax13(node: NodeProto, scope: Scope): NodeProto[] {
  const axis = intAttribute(node, "axis", 1);
  const { input: [x], output: [y] } = node;
  setAttribute(node, "axis", -1n);
  if (axis === -1 || axis + 1 === scope.rank(x)) return [node];
  const name = nodeName(node);
  const [shape, rows, result] = ["shape", "rows", "result"].map((s) => scope.fresh(`${name}_${s}`));
  node.input = [rows];
  node.output = [result];
  return [
    makeNode("Shape", shape, [x], [shape]),
    makeNode("Flatten", rows, [x], [rows], { axis: BigInt(axis) }),
    node,
    makeNode("Reshape", scope.fresh(`${name}_reshape`), [result, shape], [y]),
  ];
}

/** Before opset 21, scale and bias had one element for each group, since then for each channel. */
function groupNormalization21(node: NodeProto, scope: Scope): NodeProto[] {
  const groups = scope.addInts(node, "groups", [attributeOf(node, "num_groups")?.i ?? 1n]);
  const one = scope.addInts(node, "one", [1n]), all = scope.addInts(node, "all", [-1n]);
  const name = nodeName(node);
  const nodes: NodeProto[] = [];
  /** Adds a node; returns its output. */
  const add = (op: string, input: string[], attributes?: Record<string, AttributeValue>) => {
    const output = scope.fresh(`${name}_${op.toLowerCase()}`);
    nodes.push(makeNode(op, output, input, [output], attributes));
    return output;
  };
  const channels = add("Shape", [node.input[0]], { start: 1n, end: 2n });
  const grid = add("Concat", [groups, add("Div", [channels, groups])], { axis: 0n });
  /** G elements, each repeated C/G times. */
  const repeat = (vector: string) =>
    add("Reshape", [add("Expand", [add("Unsqueeze", [vector, one]), grid]), all]);
  node.input = [node.input[0], repeat(node.input[1]), repeat(node.input[2])];
  return [...nodes, node];
}

/** Without the empty names at the end. */
function trimmed(names: string[]): string[] {
  return names.slice(0, names.findLastIndex((name) => name !== "") + 1);
}

/** Replaces or adds an attribute; the old one may be shared with another model. */
function setAttribute(node: NodeProto, name: string, value: AttributeValue): void {
  removeAttributes(node, name);
  node.attribute.push(makeAttribute(name, value));
}

function removeAttributes(node: NodeProto, ...names: string[]): void {
  node.attribute = node.attribute.filter((attribute) => !names.includes(attribute.name));
}
