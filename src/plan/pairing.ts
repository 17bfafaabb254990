/**
 * Which rows of the float and of the quantized model belong together.
 *
 * A layer is compared with itself in the float model row by row. Where an earlier layer's values
 * choose which rows there are (TopK, NonZero, an If), quantization may choose others, and a row
 * then has no partner: nothing may be learned from the difference.
 *
 * @module
 */

import { bodiesOf, isStandard, readsOf } from "../graph/graph.ts";
import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import type { Plan } from "./plan.ts";

/** Operators whose outputs are picked, ordered or counted by the values of what they read. */
const CHOOSERS = new Set([
  "TopK",
  "NonZero",
  "NonMaxSuppression",
  "Unique",
  "Compress",
  "Multinomial",
  "Bernoulli",
]);
/** The inputs of other operators that say which values, or how many, there are. */
const CHOICES: ReadonlyMap<string, readonly number[]> = new Map(Object.entries({
  Compress: [1],
  ConstantOfShape: [0],
  Expand: [1],
  Gather: [1],
  GatherElements: [1],
  GatherND: [1],
  If: [0],
  Loop: [0, 1],
  OneHot: [0, 1],
  Pad: [1],
  Range: [0, 1, 2],
  Reshape: [1],
  Resize: [2, 3],
  RoiAlign: [1, 2],
  Scatter: [1],
  ScatterElements: [1],
  ScatterND: [1],
  SequenceAt: [1],
  SequenceErase: [1],
  SequenceInsert: [2],
  Slice: [1, 2, 3, 4],
  Split: [1],
  Tile: [1],
  TopK: [1],
  Upsample: [1],
}));
/** Operators whose outputs depend on the shape of what they read, not on its values. */
const OF_SHAPE = new Set(["Shape", "Size", "EyeLike"]);

/** The tensors of the quantized model of `plan` whose rows need not be those of the float model. */
export function unpairedTensors({ graph, layers, activations }: Plan): Set<string> {
  // What quantization changes, and what that changes.
  const touched = new Set([...activations.ranged, ...layers.map(({ target }) => target.output)]);
  const unpaired = new Set<string>();
  for (const node of graph.nodes) {
    const reads = readsOf(node);
    if (reads.some((name) => unpaired.has(name)) || chooses(node, touched)) {
      for (const name of node.output) unpaired.add(name);
    }
    const byValue = !(isStandard(node) && OF_SHAPE.has(node.opType));
    if (
      reads.some((name) => unpaired.has(name)) ||
      (byValue && reads.some((name) => touched.has(name)))
    ) {
      for (const name of node.output) touched.add(name);
    }
  }
  return unpaired;
}

/** Whether values of `touched` decide which values `node` gives, not just what they are. */
function chooses(node: NodeProto, touched: ReadonlySet<string>): boolean {
  if (!readsOf(node).some((name) => touched.has(name))) return false;
  if (!isStandard(node)) return false;
  if (CHOOSERS.has(node.opType)) return true;
  if (CHOICES.get(node.opType)?.some((i) => touched.has(node.input[i] ?? ""))) return true;
  // What happens in a body is not followed: one that may choose, does.
  return bodiesOf(node).some(({ node: inner }) => inner.some(mayChoose));
}

function mayChoose(node: NodeProto): boolean {
  return CHOOSERS.has(node.opType) || ["If", "Loop"].includes(node.opType) ||
    bodiesOf(node).some((body) => body.node.some(mayChoose));
}
