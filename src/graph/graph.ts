/**
 * An index over a model's graph: who produces a tensor, who reads it, what is constant.
 *
 * @module
 */

import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "../onnx/gen/onnx_pb.ts";
import type { Model } from "../onnx/model.ts";
import { bodiesOf, nodeName, readsOf } from "../onnx/nodes.ts";
import { DataType, dimsOf, readFloats, typeName } from "../onnx/tensor.ts";
import type { ElementType, InputSpec } from "../onnx/inputs.ts";
import { AttuneError } from "../errors.ts";

import { nonTensors } from "./values.ts";

export { bodiesOf, isControlFlow, isStandard, nodeName, readsOf } from "../onnx/nodes.ts";

/**
 * An index over `model`'s graph. It is a snapshot: after a change to the nodes, make a new one.
 */
export class Graph {
  /** The model that is indexed. */
  readonly model: Model;
  readonly #producers = new Map<string, NodeProto>();
  readonly #consumers = new Map<string, NodeProto[]>();
  readonly #constants = new Map<string, TensorProto>();
  /** Inputs with a default: a caller may feed them or leave them out. */
  readonly #optional = new Set<string>();
  readonly #outputs: Set<string>;
  readonly #steady = new Set<string>();
  #others?: Set<string>;

  /**
   * Indexes `model`; throws `bad-model` where a tensor is given or written twice, a tensor is
   * missing, or nodes form a cycle.
   */
  constructor(model: Model) {
    this.model = model;
    const defined = new Set<string>();
    const listed = new Set(this.proto.input.map((value) => value.name));
    if (listed.size < this.proto.input.length) {
      const names = this.proto.input.map((value) => value.name);
      throw writtenTwice(model, names.find((name, i) => names.indexOf(name) < i)!);
    }
    for (const tensor of this.proto.initializer) {
      if (defined.has(tensor.name)) throw writtenTwice(model, tensor.name);
      if (listed.has(tensor.name)) this.#optional.add(tensor.name);
      // Before IR version 4 every initializer had to be listed as an input, and was none.
      const isInput = listed.has(tensor.name) && model.proto.irVersion >= 4n;
      if (!isInput) this.#constants.set(tensor.name, tensor);
      defined.add(tensor.name);
    }
    for (const tensor of this.proto.sparseInitializer) defined.add(tensor.values?.name ?? "");
    for (const input of this.proto.input) defined.add(input.name);
    for (const node of this.proto.node) {
      for (const name of readsOf(node)) {
        if (!defined.has(name)) throw unknownTensor(model, node, name);
        const readers = this.#consumers.get(name);
        if (readers === undefined) this.#consumers.set(name, [node]);
        else if (!readers.includes(node)) readers.push(node);
      }
      const steady = readsOf(node).every((name) =>
        this.#constants.has(name) || this.#steady.has(name)
      );
      for (const name of node.output) {
        if (name === "") continue;
        if (steady) this.#steady.add(name);
        if (defined.has(name)) throw writtenTwice(model, name);
        defined.add(name);
        this.#producers.set(name, node);
      }
    }
    this.#outputs = new Set(this.proto.output.map((value) => value.name));
  }

  /** The graph's message. */
  get proto(): GraphProto {
    return this.model.proto.graph;
  }

  /** The nodes, each after those it reads from. */
  get nodes(): readonly NodeProto[] {
    return this.proto.node;
  }

  /** The inputs that a caller must feed: those without a default. */
  get inputs(): InputSpec[] {
    return this.proto.input.filter((value) => !this.#optional.has(value.name)).map(inputSpec);
  }

  /** The names of the outputs. */
  get outputs(): string[] {
    return this.proto.output.map((value) => value.name);
  }

  /** Whether `name` is an output of the graph. */
  isOutput(name: string): boolean {
    return this.#outputs.has(name);
  }

  /** The node that writes `name`; undefined for inputs and initializers. */
  producer(name: string): NodeProto | undefined {
    return this.#producers.get(name);
  }

  /** The nodes that read `name`, control-flow bodies included. */
  consumers(name: string): readonly NodeProto[] {
    return this.#consumers.get(name) ?? [];
  }

  /** The initializer `name`; undefined where it is computed or may be fed. */
  constant(name: string): TensorProto | undefined {
    return this.#constants.get(name);
  }

  /** Whether a node computes `name` from constants alone. */
  isSteady(name: string): boolean {
    return this.#steady.has(name);
  }

  /** Whether `name` is a tensor: no sequence, map or optional value, which cannot be asked for. */
  isTensor(name: string): boolean {
    this.#others ??= nonTensors(this.proto);
    return !this.#others.has(name);
  }

  /** The float32 values of the initializer `name`; undefined where there is none of that type. */
  floats(name: string): { values: Float32Array; dims: number[] } | undefined {
    const tensor = this.#constants.get(name);
    if (tensor === undefined || tensor.dataType !== DataType.FLOAT) return undefined;
    return { values: readFloats(tensor, this.model.external), dims: dimsOf(tensor) };
  }

  /** The only reader of `name`, where it has one reader and is no output. */
  onlyConsumer(name: string): NodeProto | undefined {
    const readers = this.consumers(name);
    return readers.length === 1 && !this.#outputs.has(name) ? readers[0] : undefined;
  }
}

/** What is wrong with a `node` that reads a tensor which is not known before it. */
function unknownTensor({ name: file, proto }: Model, node: NodeProto, name: string): AttuneError {
  // What is merely out of order was sorted when the model was read.
  const later = proto.graph.node.find(({ output }) => output.includes(name));
  const why = later === undefined
    ? "which nothing in the file writes"
    : `which "${nodeName(later)}" writes after it: the nodes form a cycle`;
  return new AttuneError(
    "bad-model",
    `Cannot use ${file}: node "${nodeName(node)}" reads "${name}", ${why}; export the model anew`,
  );
}

function writtenTwice({ name: file }: Model, name: string): AttuneError {
  return new AttuneError(
    "bad-model",
    `Cannot use ${file}: the tensor "${name}" is written twice; export the model anew`,
  );
}

function inputSpec(value: ValueInfoProto): InputSpec {
  const tensor = value.type?.value.case === "tensorType" ? value.type.value.value : undefined;
  const dims = (tensor?.shape?.dim ?? []).map((dim, i) =>
    dim.value.case === "dimValue" && dim.value.value > 0n
      ? Number(dim.value.value)
      : dim.value.case === "dimParam" && dim.value.value !== ""
      ? dim.value.value
      : `dim${i}`
  );
  const type = (tensor?.elemType ?? DataType.FLOAT) as DataType;
  const spec = { name: value.name, dims, type: typeName(type) as ElementType };
  return tensor?.shape === undefined ? { ...spec, unranked: true } : spec;
}

/**
 * The numbers that names of a set have got, by their base: counting again each time is quadratic.
 */
const numbers = new WeakMap<Set<string>, Map<string, number>>();

/** A name that is not in `taken` yet, made from `base`; it is added to `taken`. */
export function freshName(base: string, taken: Set<string>): string {
  const used = numbers.get(taken) ?? new Map<string, number>();
  numbers.set(taken, used);
  let name = base, i = used.get(base) ?? 0;
  while (taken.has(name)) name = `${base}_${++i}`;
  used.set(base, i);
  taken.add(name);
  return name;
}

/** Every name that `graph` gives a tensor or node, in control-flow bodies, too. */
export function namesIn(graph: GraphProto): string[] {
  return [
    ...graph.input.map((value) => value.name),
    ...graph.initializer.map((tensor) => tensor.name),
    ...graph.node.flatMap((node) => [
      node.name,
      ...node.input,
      ...node.output,
      ...bodiesOf(node).flatMap(namesIn),
    ]),
  ];
}

/** {@linkcode namesIn} of the graph of `model`: the names that a new one must differ from. */
export function tensorNames(model: Model): Set<string> {
  return new Set(namesIn(model.proto.graph));
}

/**
 * Removes the initializers that nothing reads or feeds, and the value infos that no longer hold.
 */
export function removeUnused(model: Model): void {
  const { graph } = model.proto;
  const used = new Set([
    ...graph.node.flatMap(readsOf),
    ...graph.output.map((value) => value.name),
    // The default of an input.
    ...graph.input.map((value) => value.name),
  ]);
  graph.initializer = graph.initializer.filter((tensor) => used.has(tensor.name));
  graph.valueInfo = [];
}
