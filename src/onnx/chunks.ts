/**
 * A model's message in chunks, so that no large tensor is ever copied into a buffer with others.
 *
 * @module
 */

import {
  create,
  type DescMessage,
  isFieldSet,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { GraphProtoSchema, ModelProtoSchema, TensorProtoSchema } from "./gen/onnx_pb.ts";
import type { Model } from "./model.ts";
import { isExternal, rawBytes } from "./tensor.ts";
import { tensorsOf } from "./tensors.ts";

/** Bytes from which on a tensor's data is a chunk of its own. */
const LARGE = 2 ** 16;

/**
 * The bytes of `serializeModel`, one chunk after another; the data of large tensors is not copied.
 */
export function modelChunks({ proto }: Model): Uint8Array[] {
  const { graph } = proto;
  const initializers = graph.initializer.flatMap((tensor) => {
    const chunks = tensor.rawData.length < LARGE
      ? [toBinary(TensorProtoSchema, tensor)]
      : around(TensorProtoSchema, tensor, TensorProtoSchema.field.rawData.number, [
        ...framed(TensorProtoSchema.field.rawData.number, [tensor.rawData]),
      ]);
    return framed(GraphProtoSchema.field.initializer.number, chunks);
  });
  const { number } = ModelProtoSchema.field.graph;
  const body = around(
    GraphProtoSchema,
    graph,
    GraphProtoSchema.field.initializer.number,
    initializers,
  );
  return around(ModelProtoSchema, proto, number, framed(number, body));
}

/**
 * The bytes of `model` as a stream, without what it keeps in external files: those of
 * `serializeModel`, of which no whole copy is made.
 *
 * @example
 * ```ts
 * import { parseModel } from "./model.ts";
 * import { modelStream } from "./chunks.ts";
 *
 * const url = new URL("../../examples/shapes/shapes.onnx", import.meta.url);
 * const model = parseModel(await Deno.readFile(url));
 * const { size } = await new Response(modelStream(model)).blob();
 * if (size < 100_000) throw new Error("cut off");
 * ```
 */
export function modelStream(model: Model): ReadableStream<Uint8Array<ArrayBuffer>> {
  const chunks = modelChunks(model).values();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = chunks.next();
      if (done) controller.close();
      else controller.enqueue(value as Uint8Array<ArrayBuffer>);
    },
  });
}

/** Bytes of `chunks` in all. */
export function lengthOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
}

/** 16 hexadecimal digits that tell models apart, what lies in their external files included. */
export async function modelDigest(model: Model): Promise<string> {
  const digests: Uint8Array[] = [];
  const add = async (bytes: Uint8Array) => {
    const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
    digests.push(new Uint8Array(hash));
  };
  for (const chunk of modelChunks(model)) await add(chunk);
  for (const tensor of tensorsOf(model)) {
    if (isExternal(tensor)) await add(rawBytes(tensor, model.external)!);
  }
  const all = new Uint8Array(lengthOf(digests));
  digests.forEach((digest, i) => all.set(digest, 32 * i));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return Array.from(hash.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A message whose field `number` is `middle`: fields are written in the order of their numbers. */
function around<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  number: number,
  middle: readonly Uint8Array[],
): Uint8Array[] {
  const part = (isKept: (field: number) => boolean) => {
    const copy = create(schema) as Record<string, unknown>;
    for (const field of schema.fields) {
      if (!isKept(field.number) || !isFieldSet(message, field)) continue;
      copy[field.localName] = (message as Record<string, unknown>)[field.localName];
    }
    return copy;
  };
  // What attune does not know comes last.
  const after = Object.assign(part((field) => field > number), { $unknown: message.$unknown });
  return [
    toBinary(schema, part((field) => field < number) as MessageShape<D>),
    ...middle,
    toBinary(schema, after as unknown as MessageShape<D>),
  ];
}

/** A field of bytes, or of a message, with its key and its length before it. */
function framed(number: number, chunks: readonly Uint8Array[]): Uint8Array[] {
  return [varint(number * 8 + 2), varint(lengthOf(chunks)), ...chunks];
}

/** A number in groups of seven bits, the lowest first. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value;; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push(rest % 128 + 128);
  }
}
