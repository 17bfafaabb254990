/**
 * What a calibration has found so far: roundings, grids, and what is to be said of them.
 *
 * @module
 */

import type { Parts } from "../emit/build.ts";
import type { RangeObserver } from "../engine/range.ts";
import type { Job } from "../forward/job.ts";
import type { SettledLayer } from "../layer/settle_layer.ts";
import { gridSource } from "../plan/activations.ts";
import type { Plan } from "../plan/plan.ts";
import type { RangeMethod } from "../plan/options.ts";
import type { BlockReport } from "../report/report.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { Rounding } from "../weights/rounding.ts";
import type { JobState, RangedGrid } from "./checkpoint.ts";
import type { Calibrated } from "./calibrated.ts";
import type { LearnedSegment } from "./learner.ts";

/** The grid of `bits` that `range` finds in what `observer` saw, and what is to be said of it. */
export function rangedGrid(
  observer: RangeObserver,
  range: RangeMethod,
  bits: 4 | 8,
): RangedGrid {
  const grid = observer.grid(range, bits);
  return { ...grid, ...observer.facts(grid) };
}

/** The findings of one job. */
export class Findings {
  readonly #plan: Plan;
  readonly #tables: ReadonlyMap<string, Rounding>;
  readonly #roundings = new Map<string, Rounding>();
  /** By the layer's output, as roundings are, in the order in which they were rounded. */
  readonly #errors = new Map<string, SettledLayer["error"]>();
  readonly #grids = new Map<string, RangedGrid>();
  readonly #blocks: BlockReport[] = [];
  readonly #seconds = new Map<string, number>();
  readonly #warnings: string[] = [];

  /** Those of `job`, with rounded embedding tables, and what an interrupted job had found. */
  constructor(
    { plan }: Pick<Job, "plan">,
    tables: ReadonlyMap<string, Rounding>,
    state?: JobState,
  ) {
    this.#plan = plan;
    this.#tables = tables;
    for (const [output, { rounding, error }] of state?.layers ?? []) {
      this.#roundings.set(output, rounding);
      this.#errors.set(output, error);
    }
    for (const [name, grid] of state?.grids ?? []) this.#grids.set(name, grid);
    this.#warnings.push(...state?.warnings ?? []);
    this.#blocks.push(...state?.blocks as BlockReport[] ?? []);
  }

  /** What the quantized model is made of by now. */
  get parts(): Parts {
    return { roundings: this.#roundings, grids: this.#grids, tables: this.#tables };
  }

  /** Whether `layer` is rounded. */
  isRounded({ target }: LayerPlan): boolean {
    return this.#roundings.has(target.output);
  }

  /**
   * What came of the layer that shares its weight with `layer` and was rounded first, if there is
   * one.
   */
  sharedWith({ target }: LayerPlan): SettledLayer | undefined {
    const first = this.#plan.layers.find((other) =>
      other.target.weight === target.weight && this.isRounded(other)
    );
    return first && this.settled(first);
  }

  /** What came of `layer`; undefined where it is not rounded yet. */
  settled({ target: { output } }: LayerPlan): SettledLayer | undefined {
    const rounding = this.#roundings.get(output);
    return rounding && { rounding, error: this.#errors.get(output)! };
  }

  /** Whether the activation `name` has a grid. */
  hasGrid(name: string): boolean {
    return this.#grids.has(name);
  }

  /** The grid of what `layer` reads; undefined where that is float. */
  inputGrid({ target }: LayerPlan): RangedGrid | undefined {
    return this.#grids.get(gridSource(this.#plan.activations, target.input));
  }

  /** Gives the activation `name` a grid. */
  setGrid(name: string, grid: RangedGrid): void {
    this.#grids.set(name, grid);
  }

  /** Keeps what came of `layer`, and what is to be said of it. */
  setLayer(
    { target }: LayerPlan,
    { rounding, error }: SettledLayer,
    warnings: string[] = [],
  ): void {
    this.#roundings.set(target.output, rounding);
    this.#errors.set(target.output, error);
    this.#warnings.push(...warnings);
  }

  /** Takes over what was learned. */
  setLearned({ roundings, scales, report }: LearnedSegment): void {
    for (const [output, rounding] of roundings) this.#roundings.set(output, rounding);
    for (const [name, scale] of scales) {
      // How much is clipped by now, nobody has counted.
      const { clipped: _, ...grid } = this.#grids.get(name)!;
      const lo = -grid.zeroPoint * scale, hi = (2 ** grid.bits - 1 - grid.zeroPoint) * scale;
      this.#grids.set(name, { ...grid, scale, lo, hi });
    }
    this.#blocks.push(report);
  }

  /** Runs `work`, and counts its time as that of `kind`. */
  async timed<T>(kind: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#seconds.set(kind, this.secondsOf(kind) + (performance.now() - start) / 1000);
    }
  }

  /** Seconds that went into `kind` of work. */
  secondsOf(kind: string): number {
    return this.#seconds.get(kind) ?? 0;
  }

  /** What a checkpoint keeps once so many segments are done. */
  state(segments: number): JobState {
    const layers = [...this.#errors].map((
      [output, error],
    ) => [output, { rounding: this.#roundings.get(output)!, error }] as const);
    return {
      segments,
      layers: new Map(layers),
      grids: this.#grids,
      warnings: this.#warnings,
      blocks: this.#blocks,
    };
  }

  /** All that was found. */
  get calibrated(): Calibrated {
    const { layers } = this.#plan;
    const byOutput = new Map(layers.map((layer) => [layer.target.output, layer]));
    return {
      parts: this.parts,
      layers: [...this.#errors].map(([output, error]) => ({
        layer: byOutput.get(output)!,
        rounding: this.#roundings.get(output)!,
        error,
      })),
      blocks: this.#blocks,
      ranges: this.#grids,
      seconds: this.#seconds,
      warnings: this.#warnings,
    };
  }
}
