/**
 * What a file says of its nested layers, so that it can be cut to fewer bits: an entry of the
 * model's metadata. Levels of narrower widths are in the levels themselves, and their scales are
 * those of the widest times a power of two; but what enters a layer differs between the models, and
 * so do the biases.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import { AttuneError } from "../errors.ts";
import { StringStringEntryProtoSchema } from "../onnx/gen/onnx_pb.ts";
import type { Model } from "../onnx/model.ts";
import { bytesOf } from "../onnx/tensor.ts";
import type { NestedFormat } from "../formats/format.ts";
import type { QuantizedModelWriter } from "./quantized_model_writer.ts";

/** The key of the entry. */
export const NESTED_KEY = "attune.nested";

/** What is known of a layer for narrower widths. */
export interface NestedLayer {
  /** The weight's tensor, dequantized. */
  readonly weight: string;
  /**
   * The widths that its levels serve, falling; the first is their own. One, where it is never cut.
   */
  readonly widths: readonly number[];
  /** The bias's tensor; undefined where the layer has none of its own. */
  readonly bias?: string;
  /** Its values, float32 in base64, by the width that the model is cut to. */
  readonly biases: Readonly<Record<number, string>>;
}

/** The entry. */
export interface Nested {
  /** How the file keeps its levels. */
  readonly format: NestedFormat;
  /** The widths that the model can be cut to, falling. */
  readonly widths: readonly number[];
  /** The layers that were quantized. */
  readonly layers: readonly NestedLayer[];
}

/** Writes the entry into the model of `writer`, if that becomes a file and its grids are nested. */
export function putNested(writer: QuantizedModelWriter): void {
  const { model, plan, parts, biases } = writer;
  const format = writer.formatFor(plan.options.format).cutAs;
  if (format === undefined) return;
  const rounded = plan.layers.flatMap((layer) => {
    const rounding = parts.roundings.get(layer.target.output);
    return rounding?.cuts === undefined ? [] : [{ layer, cuts: rounding.cuts }];
  });
  if (rounded.length === 0) return;
  const nested: Nested = {
    format,
    widths: rounded[0].cuts.map(({ width }) => width),
    layers: rounded.map(({ layer: { target, grid, bits }, cuts }) => ({
      weight: target.weight,
      widths: grid.kind === "nested" ? grid.widths : [bits],
      bias: biases.get(target.output),
      biases: Object.fromEntries(
        cuts.flatMap(({ width, bias }) => bias ? [[width, toBase64(bytesOf(bias))]] : []),
      ),
    })),
  };
  model.proto.metadataProps.push(
    create(StringStringEntryProtoSchema, { key: NESTED_KEY, value: JSON.stringify(nested) }),
  );
}

/**
 * The entry of `model`.
 *
 * @throws {AttuneError} `bad-model` where there is none, or it is damaged.
 */
export function readNested({ proto, name }: Model): Nested {
  const text = proto.metadataProps.find(({ key }) => key === NESTED_KEY)?.value;
  if (text === undefined) {
    throw new AttuneError(
      "bad-model",
      `Cannot cut ${name}: it holds no nested levels; quantize with --nested 8,6,4,3 to get such a file`,
    );
  }
  try {
    const nested = JSON.parse(text) as Nested;
    if (isNested(nested)) return nested;
  } catch {
    // What is no JSON is damaged, too.
  }
  throw new AttuneError(
    "bad-model",
    `Cannot cut ${name}: its entry ${NESTED_KEY} is damaged; quantize the float model anew`,
  );
}

function isNested({ format, widths, layers }: Nested): boolean {
  const isWidths = (list: readonly number[]) =>
    list.length > 0 && list.every((bits) => Number.isInteger(bits) && bits >= 2 && bits <= 8);
  return (format === "qdq" || format === "packed") && isWidths(widths) &&
    layers.every((layer) =>
      typeof layer.weight === "string" && isWidths(layer.widths) &&
      Object.values(layer.biases).every((bias) => atob(bias).length % 4 === 0)
    );
}

/** The bias of `layer` in a model that is cut to `width` bits; undefined where it has none. */
export function biasOfCut({ biases }: NestedLayer, width: number): Float32Array | undefined {
  const text = biases[width];
  if (text === undefined) return undefined;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer, 0, bytes.length >> 2);
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
