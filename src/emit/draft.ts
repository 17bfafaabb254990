/**
 * A quantized model while it is written: what all writers of nodes and initializers share.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode, type Model } from "../onnx/model.ts";
import { DataType, floatTensor, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import { freshName, tensorNames } from "../graph/graph.ts";
import type { Plan } from "../plan/plan.ts";
import type { Format } from "../plan/options.ts";
import type { ActivationGrid, Parts } from "./rounding.ts";

/** What a draft becomes: a file, or a model whose activation grids have gradients. */
export type BuildFormat = Format | "learnable";

/** The names of an activation grid's initializers. */
export interface GridNames {
  /** The step, a scalar. */
  readonly scale: string;
  /** The level of zero, a scalar. */
  readonly zero: string;
}

/** A model to which nodes and initializers are added. */
export class ModelWriter {
  /** The model, which is changed. */
  readonly model: Model;
  /** Nodes that read only initializers; they go first. */
  readonly front: NodeProto[] = [];
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
    const made = makeNode(op, this.name(`${output}_${op}`), input, [output], attributes);
    this.front.push(made);
    return made;
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

/** A model that is being quantized. */
export class Draft extends ModelWriter {
  /** The plan. */
  readonly plan: Plan;
  /** What is known of the result. */
  readonly parts: Parts;
  /** What it becomes. */
  readonly format: BuildFormat;
  /** The initializer of each quantized weight's scales, by the weight's name. */
  readonly weightScales: Map<string, string> = new Map();
  /** The tensor of each bias that was put in, by the layer's output. */
  readonly biases: Map<string, string> = new Map();
  readonly #grids = new Map<string, GridNames>();

  /** A draft of `plan` on `model`, a copy of the plan's model that can be changed. */
  constructor(plan: Plan, parts: Parts, format: BuildFormat, model: Model) {
    super(model);
    this.plan = plan;
    this.parts = parts;
    this.format = format;
  }

  /** The tensor whose grid `name` uses: itself, or the one that it shares; undefined in float. */
  gridOf(name: string): string | undefined {
    const source = this.plan.activations.shared.get(name) ?? name;
    return this.parts.grids.has(source) ? source : undefined;
  }

  /** The grid of what enters a layer that reads `name`; undefined where that is float. */
  inputGrid(name: string): ActivationGrid | undefined {
    return this.parts.grids.get(this.gridOf(name) ?? "");
  }

  /** The initializers of the grid of `source`. */
  gridNames(source: string): GridNames {
    let names = this.#grids.get(source);
    if (names === undefined) {
      const { scale, zeroPoint } = this.parts.grids.get(source)!;
      names = { scale: this.name(`${source}_scale`), zero: this.name(`${source}_zero_point`) };
      this.put(floatTensor(names.scale, [], new Float32Array([scale])));
      this.put(rawTensor(names.zero, DataType.UINT8, [], new Uint8Array([zeroPoint])));
      this.#grids.set(source, names);
    }
    return names;
  }
}
