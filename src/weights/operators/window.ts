/**
 * The windows of convolutions.
 *
 * @module
 */

import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import { intAttribute, intsAttribute, stringAttribute } from "../../onnx/model.ts";
import { type Graph, nodeName } from "../../graph/graph.ts";
import { AttuneError } from "../../errors.ts";
import type { Geometry } from "../target.ts";

/** The window of a convolution, and what else its node says of its weight. */
export interface Convolution {
  /** How columns are gathered. */
  readonly geometry: Geometry & { readonly kind: "window" };
  /** Groups of channels. */
  readonly groups: number;
  /** Positions of the kernel. */
  readonly taps: number;
}

/**
 * The convolution that `node` is, by a weight of `shape`; undefined where it has attributes that no
 * column can be gathered by.
 *
 * @throws {AttuneError} `bad-model` where it has what no convolution has.
 */
export function convolutionOf(
  graph: Graph,
  node: NodeProto,
  shape: readonly number[],
  transposed: boolean,
): Convolution | undefined {
  const kernel = shape.slice(2), spatial = kernel.length;
  if (spatial < 1) return undefined;
  checkWindow(graph, node, spatial);
  const groups = intAttribute(node, "group", 1);
  const autoPad = stringAttribute(node, "auto_pad", "NOTSET");
  if (intsAttribute(node, "output_shape")) return undefined;
  if (transposed && autoPad !== "NOTSET" && autoPad !== "VALID") return undefined;
  if (shape[0] % groups !== 0) return undefined;
  const ones = kernel.map(() => 1), zeros = kernel.map(() => 0);
  const geometry = {
    kind: "window",
    transposed,
    kernel,
    strides: intsAttribute(node, "strides") ?? ones,
    dilations: intsAttribute(node, "dilations") ?? ones,
    pads: autoPad === "NOTSET"
      ? (intsAttribute(node, "pads") ?? zeros).slice(0, spatial)
      : autoPad === "VALID"
      ? zeros
      : undefined,
    autoPad,
  } as const;
  return { geometry, groups, taps: kernel.reduce((a, b) => a * b, 1) };
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
