/**
 * Mutations of models: of any field of any message of the format, and of what a graph means (names,
 * order, cycles, shapes, bodies, functions, external data).
 */

import { clone, create, type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import {
  FunctionProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  type ValueInfoProto,
} from "../../src/onnx/gen/onnx_pb.ts";
import * as schemas from "../../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model } from "../../src/onnx/model.ts";
import { DataType } from "../../src/onnx/tensor.ts";
import { bodyAttribute, graphOf } from "../helpers/models.ts";
import { DATA_FILE } from "./corpus.ts";
import { mutateBytes, ODD_TEXTS, type Random } from "./random.ts";

/** Messages by the name of their type. */
const SCHEMAS: ReadonlyMap<string, DescMessage> = new Map(
  Object.values(schemas).flatMap((each) =>
    typeof each === "object" && "kind" in each && each.kind === "message"
      ? [[each.typeName as string, each] as const]
      : []
  ),
);

/** A message and a field of it. */
interface Place {
  readonly message: Record<string, unknown>;
  readonly field: DescField;
}

/** Every field of every message below `message`, set or not. */
function placesIn(message: Message, found: Place[] = []): Place[] {
  const own = message as unknown as Record<string, unknown>;
  for (const field of SCHEMAS.get(message.$typeName)!.fields) {
    found.push({ message: own, field });
    const value = valueOf({ message: own, field });
    const parts = field.fieldKind === "message" || field.fieldKind === "list" ? [value].flat() : [];
    for (const part of parts) {
      if ((part as Message)?.$typeName !== undefined) placesIn(part as Message, found);
    }
  }
  return found;
}

function valueOf({ message, field }: Place): unknown {
  if (field.oneof === undefined) return message[field.localName];
  const choice = message[field.oneof.localName] as { case?: string; value?: unknown };
  return choice.case === field.localName ? choice.value : undefined;
}

function setValue({ message, field }: Place, value: unknown): void {
  if (field.oneof === undefined) message[field.localName] = value;
  else message[field.oneof.localName] = { case: field.localName, value };
}

const SIZES = [0n, 1n, 2n, 3n, 7n, 8n, 64n, 100_003n, 2n ** 31n, 2n ** 32n, 2n ** 40n, 2n ** 62n];

function mutateField(random: Random, model: Model, place: Place, places: readonly Place[]): void {
  const { field } = place, value = valueOf(place);
  if (field.fieldKind === "list") {
    const list = value as unknown[], at = random.below(list.length + 1);
    const scalar = field.listKind === "scalar" || field.listKind === "enum";
    random.do<unknown>([
      () => list.splice(at, 1),
      () => at < list.length && list.splice(random.below(list.length + 1), 0, copy(list[at])),
      () => list.push(...list.splice(random.below(list.length + 1), 1)),
      () => setValue(place, list.slice(0, at)),
      () => scalar && at < list.length && (list[at] = mutateScalar(random, model, field, list[at])),
      () => scalar && list.push(mutateScalar(random, model, field, undefined)),
      () => {
        const other = elsewhere(random, place, places) as unknown[] | undefined;
        if (other?.length) list.splice(at, 0, copy(random.pick(other)));
      },
    ]);
  } else if (field.fieldKind === "message") {
    const other = elsewhere(random, place, places);
    if (random.chance(0.5) && other !== undefined) setValue(place, copy(other));
    else if (field.oneof === undefined) setValue(place, undefined);
  } else if (field.fieldKind !== "map") {
    setValue(place, mutateScalar(random, model, field, value));
  }
}

/** The value of the same kind of field somewhere else in the model. */
function elsewhere(random: Random, place: Place, places: readonly Place[]): unknown {
  const alike = places.filter(({ field }) => field === place.field).map(valueOf);
  const found = alike.filter((value) => value !== undefined);
  return found.length > 0 ? random.pick(found) : undefined;
}

function copy<T>(value: T): T {
  const message = value as Message | undefined;
  return message?.$typeName === undefined
    ? value
    : clone(SCHEMAS.get(message.$typeName)!, message) as T;
}

function mutateScalar(random: Random, model: Model, field: DescField, value: unknown): unknown {
  if ("enum" in field && field.enum !== undefined) {
    return random.pick(field.enum.values).number;
  }
  switch ("scalar" in field ? field.scalar : undefined) {
    case 9: // string
      return random.chance(0.5) ? nameIn(random, model) : random.pick(ODD_TEXTS.slice(0, -2));
    case 12: // bytes
      return mutateBytes(random, (value as Uint8Array | undefined) ?? new Uint8Array());
    case 1: // double
    case 2: // float
      return random.pick([0, -1, 1e-30, 1e38, NaN, Infinity, -Infinity, 0.5]);
    case 8: // bool
      return !value;
    case 5: // int32
      return random.chance(0.6) ? random.below(30) : random.pick([-1, 2 ** 31 - 1, -(2 ** 31), 0]);
    default: {
      const signed = "scalar" in field && field.scalar === 3;
      const size = random.do([
        () => random.pick(SIZES),
        () => BigInt(random.below(20)),
        () => ((value as bigint | undefined) ?? 0n) + 1n,
      ]);
      return signed && random.chance(0.3) ? -size : size;
    }
  }
}

/** A name that the model uses, of tensors mostly. */
function nameIn(random: Random, { proto: { graph } }: Model): string {
  const names = random.do<string[]>([
    () => graph.node.flatMap(({ output }) => output),
    () => graph.node.flatMap(({ input }) => input),
    () => graph.initializer.map(({ name }) => name),
    () => graph.node.map(({ name }) => name),
    () => graph.node.map(({ opType }) => opType),
  ]);
  return names.length > 0 ? random.pick(names) : "";
}

const OPS = (
  "Conv ConvTranspose Gemm MatMul Add Mul Div Sub Relu Clip Sigmoid Softmax Reshape Transpose " +
  "Flatten Gather Concat Split Squeeze Unsqueeze Cast Shape Identity Dropout BatchNormalization " +
  "AveragePool MaxPool GlobalAveragePool Expand Slice Pad Resize ReduceMean LayerNormalization Pow " +
  "Constant ConstantOfShape Einsum TopK NonZero Tile Where Range QuantizeLinear DequantizeLinear"
).split(" ");

/** Changes of what a graph means. */
const MEANINGS: readonly ((random: Random, model: Model) => void)[] = [
  // A tensor gets another name wherever it is read and written.
  (random, model) => {
    const from = nameIn(random, model);
    rename(model, from, random.chance(0.7) ? random.pick(ODD_TEXTS) : nameIn(random, model));
  },
  (random, { proto: { graph } }) => {
    if (graph.node.length > 0) random.pick(graph.node).opType = random.pick(OPS);
  },
  // A node reads something else, maybe what comes of it.
  (random, model) => {
    const { graph } = model.proto;
    const node = random.pick(graph.node);
    if (node?.input.length) node.input[random.below(node.input.length)] = nameIn(random, model);
  },
  (_, { proto: { graph } }) => void graph.node.reverse(),
  (random, { proto: { graph } }) => {
    const node = random.pick(graph.node);
    if (node) graph.node.splice(random.below(graph.node.length), 0, copy(node));
  },
  // Shapes that the data does, or does not, have.
  (random, { proto: { graph } }) => {
    const tensor = random.pick(graph.initializer);
    if (!tensor) return;
    random.do<unknown>([
      () => tensor.dims.reverse(),
      () => tensor.dims.push(1n),
      () => tensor.dims.unshift(1n),
      () => tensor.dims = [tensor.dims.reduce((a, b) => a * b, 1n)],
      () => tensor.dims = tensor.dims.map(() => random.pick(SIZES)),
      () => {
        tensor.dims = tensor.dims.map((dim, i) => i === 0 ? 0n : dim);
        tensor.rawData = new Uint8Array();
      },
    ]);
  },
  // Values that are lawful, but odd.
  (random, { proto: { graph } }) => {
    const tensor = random.pick(graph.initializer);
    if (tensor?.dataType !== DataType.FLOAT || tensor.rawData.length === 0) return;
    const values = new Float32Array(tensor.rawData.slice().buffer);
    const odd = random.pick([NaN, Infinity, 0, 1e38, 1e-42, -1]);
    if (random.chance(0.5)) values.fill(odd);
    else values[random.below(values.length)] = odd;
    tensor.rawData = new Uint8Array(values.buffer);
  },
  // Shapes, axes and indices that operators read.
  (random, { proto: { graph } }) => {
    const tensor = random.pick(graph.initializer.filter((t) => t.dataType === DataType.INT64));
    // Another mutation may have cut it short.
    if (!tensor || tensor.rawData.length === 0 || tensor.rawData.length % 8 !== 0) return;
    const values = new BigInt64Array(tensor.rawData.slice().buffer);
    const at = random.below(values.length);
    values[at] = random.chance(0.5) ? random.pick(SIZES) : BigInt(random.below(7) - 3);
    tensor.rawData = new Uint8Array(values.buffer);
  },
  (random, { proto: { graph } }) => {
    const node = random.pick(graph.node.filter(({ attribute }) => attribute.length > 0));
    const attribute = node && random.pick(node.attribute);
    if (!attribute) return;
    const value = () => random.chance(0.7) ? BigInt(random.below(7) - 3) : random.pick(SIZES);
    if (attribute.ints.length === 0) attribute.i = value();
    else attribute.ints = attribute.ints.map((size) => random.chance(0.5) ? size : value());
  },
  (random, { proto: { graph } }) => {
    const node = random.pick(graph.node);
    if (!node) return;
    random.do<unknown>([
      () => node.input.pop(),
      () => node.input.shift(),
      () => node.input.push(random.pick(["", ...node.output])),
      () => node.input = [],
      () => node.output = [],
      () => node.output.push(random.pick(["", "more", ...node.output])),
    ]);
  },
  // Data elsewhere.
  (random, { proto: { graph } }) => {
    const tensor = random.pick(graph.initializer);
    if (!tensor) return;
    makeExternal(random, tensor);
    if (random.chance(0.7)) tensor.rawData = new Uint8Array();
  },
  // Inputs and outputs.
  (random, { proto: { graph } }) => {
    const list = random.pick<ValueInfoProto[]>([graph.input, graph.output, graph.valueInfo]);
    const other = random.pick([...graph.input, ...graph.output]);
    random.do<unknown>([() => list.splice(0, 1), () => other && list.push(copy(other))]);
  },
  (random, model) => {
    const value = random.pick(model.proto.graph.output);
    if (value) value.name = nameIn(random, model);
  },
  (random, { proto: { graph } }) => {
    const type = random.pick(graph.input)?.type?.value;
    if (type?.case !== "tensorType") return;
    const dims = type.value.shape?.dim ?? [];
    random.do<unknown>([
      () => type.value.shape = undefined,
      () => type.value.elemType = random.below(24),
      () => dims.pop(),
      () => dims.length && dims.push(copy(random.pick(dims))),
      () => {
        for (const dim of dims) {
          dim.value = random.chance(0.5)
            ? { case: "dimValue", value: random.pick([-1n, ...SIZES]) }
            : { case: "dimParam", value: random.pick(ODD_TEXTS) };
        }
      },
    ]);
  },
  // A node in the branches of an If, once or many times.
  (random, { proto: { graph } }) => {
    const at = random.below(graph.node.length), [node] = graph.node.splice(at, 1);
    if (!node) return;
    let inner: NodeProto = node;
    for (let depth = random.pick([1, 1, 2, 20, 29, 40]); depth > 0; depth--) {
      const outer = makeNode("If", random.pick(ODD_TEXTS), ["condition"], [...inner.output]);
      for (const name of ["then_branch", "else_branch"]) {
        // One of them twice as deep would be a file of exponential size.
        const leaf = makeNode("Identity", "", [graph.input[0]?.name ?? ""], [...inner.output]);
        const nodes = [name === "then_branch" ? inner : leaf];
        outer.attribute.push(
          bodyAttribute(name, graphOf({ inputs: {}, nodes, outputs: inner.output })),
        );
      }
      inner = outer;
    }
    graph.node.splice(at, 0, inner);
    if (random.chance(0.8)) {
      graph.node.unshift(makeNode("Constant", "", [], ["condition"], { value_int: 1n }));
    }
  },
  // A node becomes a function, which may call itself.
  (random, model) => {
    const { graph, functions } = model.proto, node = random.pick(graph.node);
    if (!node) return;
    const body = copy(node), name = random.pick(["F", node.opType, ...ODD_TEXTS]);
    node.opType = name;
    node.domain = random.pick(["local", "", ...ODD_TEXTS.slice(0, 4)]);
    const calls = random.chance(0.3) ? [copy(node)] : [];
    functions.push(create(FunctionProtoSchema, {
      name,
      domain: node.domain,
      input: [...body.input],
      output: [...body.output],
      node: [body, ...calls],
      attribute: random.chance(0.3) ? ["axis"] : [],
      opsetImport: model.proto.opsetImport.map(copy),
    }));
  },
  (random, { proto }) => {
    const entry = random.pick(proto.opsetImport);
    if (entry) entry.version = BigInt(random.pick([0, 7, 9, 10, 11, 13, 15, 18, 21, 22, 25, 99]));
  },
  (random, { proto }) => void (proto.irVersion = BigInt(random.pick([0, 3, 4, 7, 8, 10, 12, 99]))),
  // Many of them.
  (random, { proto: { graph } }) => {
    const last = graph.output[0];
    if (!last) return;
    const count = random.pick([100, 1000]);
    for (let i = 0; i < count; i++) {
      graph.node.push(makeNode("Relu", "", [i ? `chain${i - 1}` : last.name], [`chain${i}`]));
    }
    last.name = `chain${count - 1}`;
  },
];

function makeExternal(random: Random, tensor: TensorProto): void {
  tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
  const entries: Record<string, string> = {
    location: random.pick([
      DATA_FILE,
      DATA_FILE,
      "nowhere",
      ".",
      "..",
      "/etc/hostname",
      "",
      "a\0b",
    ]),
    offset: random.pick(["0", "64", "-1", "1e9", "9007199254740993", "NaN", ""]),
    length: random.pick(["0", "4", "384", "-4", "1e18", "x"]),
  };
  tensor.externalData = Object.entries(entries).filter(() => random.chance(0.7))
    .map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
}

function rename({ proto: { graph } }: Model, from: string, to: string): void {
  const renamed = (name: string) => name === from ? to : name;
  for (const node of graph.node) {
    node.input = node.input.map(renamed);
    node.output = node.output.map(renamed);
    node.name = renamed(node.name);
  }
  for (const each of [...graph.input, ...graph.output, ...graph.initializer, ...graph.valueInfo]) {
    each.name = renamed(each.name);
  }
}

/** `original` with one to four mutations. */
export function mutateModel(random: Random, original: Model): Model {
  const model = { ...original, proto: clone(ModelProtoSchema, original.proto) as Model["proto"] };
  for (let i = random.pick([1, 1, 1, 2, 2, 4]); i > 0; i--) {
    if (random.chance(0.6)) {
      random.pick(MEANINGS)(random, model);
    } else {
      const places = placesIn(model.proto.graph);
      if (random.chance(0.1)) placesIn(model.proto, places);
      // Fields that are set are the ones that matter.
      const set = places.filter((place) => [valueOf(place)].flat().length > 0);
      mutateField(random, model, random.pick(random.chance(0.9) ? set : places), places);
      if (model.proto.graph === undefined) return { ...model, proto: original.proto };
    }
  }
  return model;
}
