/**
 * A quantized model while it is written: what all writers of nodes and initializers share.
 *
 * @module
 */

import type { Model } from "../onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../onnx/tensor.ts";
import { WeightWriter } from "../formats/writer.ts";
import type { Plan } from "../plan/plan.ts";
import { float } from "../formats/float.ts";
import type { Format } from "../formats/format.ts";
import { type FormatName, formatOf } from "../formats/formats.ts";
import type { ActivationGrid, Parts } from "../weights/rounding.ts";

/** What is built: a file, or a model whose activation grids have gradients. */
export type BuildFormat = FormatName | "learnable";

/** The names of an activation grid's initializers. */
export interface GridNames {
  /** The step, a scalar. */
  readonly scale: string;
  /** The level of zero, a scalar. */
  readonly zero: string;
}

/** A model that is being quantized. */
export class QuantizedModelWriter extends WeightWriter {
  /** The plan. */
  readonly plan: Plan;
  /** What is known of the result. */
  readonly parts: Parts;
  /** What it becomes. */
  readonly format: BuildFormat;
  /** The tensor of each bias that was put in, by the layer's output. */
  readonly biases: Map<string, string> = new Map();
  readonly #grids = new Map<string, GridNames>();

  /** A writer of `plan` on `model`, a copy of the plan's model that can be changed. */
  constructor(plan: Plan, parts: Parts, format: BuildFormat, model: Model) {
    super(model);
    this.plan = plan;
    this.parts = parts;
    this.format = format;
  }

  /** The format that writes what the plan has the one called `name` keep: that, or float values. */
  formatFor(name: string): Format {
    const simulates = this.format === "learnable" || formatOf(this.format).simulation;
    return simulates ? float : formatOf(name);
  }

  /** The tensor whose grid `name` uses: itself, or the one that it shares; undefined in float. */
  gridOf(name: string): string | undefined {
    const source = this.plan.activations.shared.get(name) ?? name;
    return this.parts.grids.has(source) ? source : undefined;
  }

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
