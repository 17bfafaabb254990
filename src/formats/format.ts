/**
 * A file format: how weights are kept, what that takes, and who writes it.
 *
 * @module
 */

import type { LayerPlan } from "../weights/layer.ts";
import type { ActivationBits, Rounding } from "../weights/rounding.ts";
import type { Storage } from "../weights/storage.ts";
import type { TablePlan } from "../weights/table.ts";
import type { ModelWriter, WeightWriter } from "./writer.ts";

/** What of a plan's options formats decide by. */
export interface FormatOptions {
  /** Bits of activations. */
  readonly activationBits: ActivationBits;
}

/** A layer whose levels are known, but not how they are kept. */
export type LayerGrid = Pick<
  LayerPlan,
  "target" | "bits" | "grid" | "windows" | "granularity" | "groupsPerRow" | "groupSize"
>;

/** A layer that is kept in a certain way. */
export type Stored<S extends Storage> = LayerGrid & { readonly storage: S };

/** Bytes of a layer's weight in the file, beside its scales. */
export interface WeightBytes {
  /** Of its levels. */
  readonly levels: number;
  /** Of what moves them, row by row: zero points or offsets. */
  readonly zeros: number;
}

/**
 * A file format. What it decides of a layer is that layer's storage, which names the format that
 * writes it: one that cannot keep some layers has another keep those.
 */
export interface Format<S extends Storage = Storage> {
  /** What it is called. */
  readonly name: string;
  /** What it is, in a few words. */
  readonly doc: string;
  /** How `layer` is kept where this format is asked for: by this one, or by another. */
  storage(layer: LayerGrid, options: FormatOptions): Storage;
  /** The first opset of what `layer`, which it keeps, is written in. */
  opset(layer: Stored<S>, options: FormatOptions): number;
  /** What `layer`, which it keeps, takes in the file. */
  bytes(layer: Stored<S>, options: FormatOptions): WeightBytes;
  /** Puts the weight of `layer`, which it keeps, into a model. */
  put(writer: WeightWriter, layer: LayerPlan & Stored<S>, rounding: Rounding): void;
  /**
   * Where the scales of an int32 bias beside a weight that it keeps come from: they are in the
   * file, or computed when that is opened. Undefined where no integer kernel runs and biases stay
   * in float.
   */
  readonly biasScales?: "stored" | "computed";
  /** Whether layers that it keeps are computed by an operator that takes activations in float. */
  readonly floatInput?: boolean;
  /** How embedding tables are kept. Default: in float. */
  readonly tables?: TableFormat;
  /** Whether tensors get short names: in a small model, names are a quarter of the file. */
  readonly shortNames?: boolean;
  /** How a file of nested levels is cut to fewer bits. Default: it has none. */
  readonly cutAs?: NestedFormat;
  /**
   * Whether it writes float weights that behave as if they were kept in integers. The file is as
   * large as that of the float model; the storage of a layer tells what it would take.
   */
  readonly simulation?: boolean;
}

/** How a file keeps levels that can be cut. */
export type NestedFormat = "qdq" | "packed";

/** How a format keeps embedding tables. */
export interface TableFormat {
  /** Values of a row that share a scale. */
  readonly groupSize: number;
  /** The bits of a level where `bits` are asked for. */
  bitsFor(bits: number): TablePlan["bits"];
  /** Lets the nodes that read `table` take rows of `rounding`. */
  put(writer: ModelWriter, table: TablePlan, rounding: Rounding): void;
}
