/**
 * Short names for the tensors inside a model, where a file is written for its size: in a small
 * model names are a quarter of it.
 *
 * @module
 */

import { copyMessage, type Model } from "../onnx/model.ts";
import { bodiesOf, namesIn } from "../graph/graph.ts";

/**
 * Gives every tensor of `model` a short name, in place, except inputs, outputs and what a
 * control-flow body speaks of. Nodes keep the name that they have in `original`, others lose it.
 */
export function shortenNames(model: Model, original: Model): void {
  const { graph } = model.proto;
  const nodeNames = new Set(original.proto.graph.node.map((node) => node.name));
  const fixed = new Set([
    "",
    ...[...graph.input, ...graph.output].map((value) => value.name),
    ...graph.node.flatMap(bodiesOf).flatMap(namesIn),
    ...graph.sparseInitializer.map((tensor) => tensor.values?.name ?? ""),
  ]);
  const short = new Map<string, string>();
  let count = 0;
  const rename = (name: string): string => {
    if (fixed.has(name)) return name;
    let label = short.get(name);
    if (label === undefined) {
      do label = (count++).toString(36); while (fixed.has(label));
      short.set(name, label);
    }
    return label;
  };
  graph.initializer = graph.initializer.map((tensor) =>
    Object.assign(copyMessage(tensor), { name: rename(tensor.name), docString: "" })
  );
  for (const node of graph.node) {
    node.input = node.input.map(rename);
    node.output = node.output.map(rename);
    node.docString = "";
    if (!nodeNames.has(node.name)) node.name = "";
  }
}
