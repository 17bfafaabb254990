/**
 * Gathers columns of layers batch by batch, and sums what rounding must know of them.
 *
 * @module
 */

import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { chooseSpread } from "../samples/sampling.ts";
import { addRowSums } from "./arithmetic.ts";
import { type ColumnShape, gatherColumns, positionCount } from "./columns.ts";
import type { Batch } from "./spool.ts";
import type { LayerSums } from "./statistics.ts";

/** Elements of a gathered matrix at a time: 32 MiB of float32. */
const GATHER_LIMIT = 2 ** 23;

/** A layer whose statistics are wanted. */
export interface CollectLayer {
  /** How its columns are gathered. */
  readonly shape: ColumnShape;
  /** The tensor of the quantized model that enters. */
  readonly input: string;
  /** The tensor that leaves. */
  readonly output: string;
  /**
   * Whether that is the float model's; otherwise the quantized one's, whose layer is still in
   * float.
   */
  readonly paired: boolean;
  /** Inputs whose products are kept: the depth, or tiles that divide it. */
  readonly gramTile: number;
  /** Whether products of float outputs and inputs are wanted. */
  readonly cross: boolean;
  /** Output positions to take of one batch, at most. */
  readonly positions: number;
  /** Decides which positions are taken. */
  readonly seed: number;
}

/** Sums of a layer in kernel memory. */
interface KernelSums extends Record<Exclude<keyof LayerSums, "count">, Buffer> {
  count: number;
}

/** The sums of some layers, in kernel memory until it is disposed of. */
export class Collector implements Disposable {
  readonly #kernel: Kernel;
  readonly #mark: number;
  readonly #layers: readonly CollectLayer[];
  readonly #sums: readonly KernelSums[];

  /** Sums of zero columns. */
  constructor(kernel: Kernel, layers: readonly CollectLayer[]) {
    this.#kernel = kernel;
    this.#mark = kernel.mark();
    this.#layers = layers;
    this.#sums = layers.map(({ shape: { groups, rows, depth }, gramTile, cross }) => ({
      count: 0,
      gram: kernel.f32(groups * depth * gramTile),
      cross: kernel.f32(cross ? groups * rows * depth : 0),
      inputSum: kernel.f32(groups * depth),
      outputSum: kernel.f32(groups * rows),
    }));
  }

  /** Adds batch number `batch`: tensors of the quantized model and of the float one. */
  add(quantized: Batch, float: Batch, batch: number): void {
    this.#layers.forEach((layer, l) =>
      this.#accumulate(layer, quantized, float, batch, this.#sums[l])
    );
  }

  /** The sums, copied out of the kernel's memory. */
  get sums(): LayerSums[] {
    return this.#sums.map(({ count, gram, cross, inputSum, outputSum }) => ({
      count,
      gram: gram.view.slice(),
      cross: cross.view.slice(),
      inputSum: inputSum.view.slice(),
      outputSum: outputSum.view.slice(),
    }));
  }

  /** Frees the kernel's memory. */
  [Symbol.dispose](): void {
    this.#kernel.reset(this.#mark);
  }

  #accumulate(layer: CollectLayer, x: Batch, y: Batch, batch: number, sums: KernelSums): void {
    const kernel = this.#kernel;
    const { shape: { groups, rows, depth }, gramTile: d } = layer;
    const input = x[layer.input], output = (layer.paired ? y : x)[layer.output];
    const total = positionCount(layer.shape, output);
    // A different choice in every batch, the same for any number of workers.
    const chosen = chooseSpread(total, layer.positions, layer.seed + batch);
    const chunk = Math.max(1, Math.floor(GATHER_LIMIT / (groups * Math.max(depth, rows))));
    for (let from = 0; from < chosen.length; from += chunk) {
      const positions = chosen.slice(from, from + chunk), p = positions.length;
      const mark = kernel.mark();
      const columns = kernel.f32(groups * depth * p), results = kernel.f32(groups * rows * p);
      gatherColumns(layer.shape, input, output, positions, columns.view, results.view);
      const tiles = groups * depth / d;
      kernel.gram({ x: columns, h: sums.gram, sum: sums.inputSum, groups: tiles, d, p });
      if (layer.cross) {
        kernel.cross({ y: results, x: columns, r: sums.cross, groups, o: rows, d: depth, p });
      }
      addRowSums(results.view, p, sums.outputSum.view);
      kernel.reset(mark);
      sums.count += p;
    }
  }
}
