/**
 * What a model's graph declares of its inputs.
 *
 * @module
 */

/** The element types of model inputs that attune can feed, by their onnxruntime names. */
export type ElementType =
  | "float32"
  | "float64"
  | "float16"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "bool";

/** One input of the model, as its graph declares it. */
export interface InputSpec {
  /** The input's name. */
  readonly name: string;
  /** The shape, most often with a batch axis first; a free dimension is its symbolic name. */
  readonly dims: readonly (number | string)[];
  /** The element type. */
  readonly type: ElementType;
  /**
   * Whether the model declares no shape: `dims` is empty then, and any array fits. Default: false.
   */
  readonly unranked?: boolean;
  /** The axis that counts samples, where the caller says so. Default: found out. */
  readonly batchAxis?: number;
}
