/**
 * A model to which nodes and initializers are added: what all that writes into a model shares.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode, type Model } from "../onnx/model.ts";
import { DataType, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import { freshName, tensorNames } from "../graph/graph.ts";
import type { ActivationGrid } from "../weights/rounding.ts";

/** A model to which nodes and initializers are added. */
export class ModelWriter {
  /** The model, which is changed. */
  readonly model: Model;
  /** Nodes that read only initializers; they go first. */
  readonly constantNodes: NodeProto[] = [];
  /** Tensors that several weights use, by what they are. */
  readonly shared: Map<string, string> = new Map();
  readonly #names: Set<string>;

  /** A writer to `model`, a copy that can be changed. */
  constructor(model: Model) {
    this.model = model;
    this.#names = tensorNames(model);
  }

  /** A name made from `base` that nothing in the model has. */
  name(base: string): string {
    return freshName(base, this.#names);
  }

  /** Adds `tensor`, in place of the initializer of its name if there is one; returns the name. */
  put(tensor: TensorProto): string {
    const { initializer } = this.model.proto.graph;
    const index = initializer.findIndex((t) => t.name === tensor.name);
    if (index < 0) initializer.push(tensor);
    else initializer[index] = tensor;
    return tensor.name;
  }

  /** Removes the initializer `name`, so that a node can write a tensor of that name. */
  remove(name: string): void {
    const { initializer } = this.model.proto.graph;
    initializer.splice(initializer.findIndex((t) => t.name === name), 1);
  }

  /** A node that writes `output`, among those that go first. */
  node(
    op: string,
    input: string[],
    output: string,
    attributes: Record<string, AttributeValue> = {},
  ): NodeProto {
    const node = makeNode(op, this.name(`${output}_${op}`), input, [output], attributes);
    this.constantNodes.push(node);
    return node;
  }

  /** The initializer of the byte `value`, a scalar that all who ask for it share. */
  byte(value: number): string {
    const key = `byte_${value}`;
    let name = this.shared.get(key);
    if (name === undefined) {
      name = this.put(rawTensor(this.name(key), DataType.UINT8, [], Uint8Array.of(value)));
      this.shared.set(key, name);
    }
    return name;
  }

  /** A tensor of `dims` made from `input` by a Reshape, called `output`. */
  reshape(input: string, output: string, dims: readonly number[]): string {
    const shape = this.put(int64Tensor(this.name(`${output}_shape`), [dims.length], dims));
    this.node("Reshape", [input, shape], output);
    return output;
  }
}

/** A model whose weights are being quantized. */
export abstract class WeightWriter extends ModelWriter {
  /** The initializer of each quantized weight's scales, by the weight's name. */
  readonly weightScales: Map<string, string> = new Map();

  /** The grid of what enters a layer that reads `name`; undefined where that is float. */
  abstract inputGrid(name: string): ActivationGrid | undefined;
}
