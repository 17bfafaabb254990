/**
 * Runs a plan: segment by segment, each layer is observed on what the quantized model before it
 * computes, rounded, and put in place before the next is looked at.
 *
 * @module
 */

import { tensorAsRead } from "../emit/build.ts";
import { LANES, type Side } from "../engine/lanes.ts";
import type { SplitSums } from "../engine/statistics.ts";
import { checkAborted } from "../errors.ts";
import type { Job } from "../forward/job.ts";
import {
  openPart,
  partsOf,
  type PartSource,
  simulatedParts,
  type Types,
  typesAt,
} from "../forward/open_part.ts";
import { ancestors, frontier } from "../graph/extract.ts";
import { offsetOf } from "../layer/bias.ts";
import { collectLayer, collectSums, observeRanges, statisticsOf } from "../layer/collect.ts";
import { settleLayer } from "../layer/settle_layer.ts";
import { unpairedTensors } from "../plan/pairing.ts";
import { narrowerWidths } from "../plan/layer.ts";
import { Progress } from "../progress.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { Findings, rangedGrid } from "./findings.ts";
import type { Calibrated, CalibrateOptions } from "./calibrated.ts";
import { isLittle, OnePass } from "./one_pass.ts";
import { findSegments, portionsOf, type Segment } from "./segments.ts";

/** Calibrates and rounds every layer of the plan of `job` on the batches that its pool holds. */
export async function calibrate(job: Job, options: CalibrateOptions): Promise<Calibrated> {
  const calibration = isLittle(job, options)
    ? new OnePass(job, options)
    : new Calibration(job, options);
  const { calibrated } = await calibration.run();
  await job.pool.close();
  return calibrated;
}

class Calibration {
  readonly #job: Job;
  readonly #options: CalibrateOptions;
  readonly #findings: Findings;
  readonly #segments: readonly Segment[];
  readonly #progress: Progress;
  /** Activations that are to have a grid, but no sample shows a value of. */
  readonly #unseen = new Set<string>();
  /** Tensors whose rows need not be those of the float model. */
  readonly #unpaired: ReadonlySet<string>;
  /** The widths that grids are nested for, beside the widest. */
  readonly #widths: readonly number[];

  constructor(job: Job, options: CalibrateOptions) {
    const { plan, loaded, onProgress } = job, { learner, tables, state } = options;
    this.#job = job;
    this.#options = options;
    this.#findings = new Findings(job, tables, state);
    this.#widths = narrowerWidths(plan.layers);
    this.#unpaired = unpairedTensors(plan);
    const segments: readonly Segment[] = learner?.segments ?? findSegments(plan, loaded.shapes);
    this.#segments = segments.map((segment) => ({
      ...segment,
      steps: segment.steps.flatMap(portionsOf),
    }));
    const units = this.#segments.map((segment) => this.#unitsOf(segment));
    this.#progress = new Progress(onProgress, "quantize", units.reduce((a, b) => a + b, 0));
  }

  /**
   * Units of progress in `segment`: one is one batch through one pass of all sides that there are
   * in a step, or of two on the way to the next segment; a rounding, or learning a block, counts as
   * one pass.
   */
  #unitsOf({ steps }: Segment): number {
    const sides = 2 + this.#widths.length, learning = this.#options.learner ? 1 : 0;
    return this.#job.loaded.batches * (sides * steps.length + sides / 2 + learning);
  }

  async run(): Promise<Findings> {
    const { plan, pool } = this.#job, { learner, state, onState } = this.#options;
    for (const [i, segment] of this.#segments.entries()) {
      const types = typesAt(this.#job, segment.start);
      const last = i === this.#segments.length - 1;
      const crossing = last ? plan.graph.outputs : frontier(plan.graph, segment.end);
      // What an interrupted job had found is not looked for again, only computed with.
      const known = i < (state?.segments ?? 0);
      if (!known) await this.#roundSegment(segment, types, crossing);
      const learning = learner !== undefined && !known;
      if (!last || learning) await this.#advance("float", types, crossing);
      if (learning) await this.#learn(i, types);
      if (!known) await onState?.(this.#findings.state(i + 1));
      if (!last) {
        for (const side of ["quantized" as const, ...this.#narrowed]) {
          await this.#advance(side, types, crossing);
        }
        for (let lane = 0; lane < this.#lanes; lane++) {
          await pool.ofLane(lane).call("nextSegment", [lane]);
        }
      }
      this.#progress.reach(this.#unitsOf(segment), known ? "done before" : undefined);
    }
    return this.#findings;
  }

  /** Rounds the layers of `segment`, step by step, and finds the grids of what leaves it. */
  async #roundSegment(segment: Segment, types: Types, crossing: readonly string[]): Promise<void> {
    const { signal } = this.#job, findings = this.#findings;
    for (const step of segment.steps) {
      checkAborted(signal);
      await this.#observe(types, step.map((layer) => layer.target.input));
      const collect = (width?: number) =>
        findings.timed("statistics", () => this.#collect(types, step, width));
      const sums = await collect(), narrowed = new Map<number, SplitSums[]>();
      for (const width of this.#narrowed) narrowed.set(width, await collect(width));
      for (const [i, layer] of step.entries()) {
        checkAborted(signal);
        const ofWidth = (width: number) => narrowed.get(width)?.[i] ?? sums[i];
        await findings.timed("rounding", () => this.#settle(layer, sums[i], ofWidth));
      }
      this.#progress.add(this.#job.loaded.batches, step[0].target.name);
    }
    await this.#observe(types, crossing);
  }

  /** Rounds `layer` by its sums, and those that the models of narrower widths see. */
  async #settle(
    layer: LayerPlan,
    split: SplitSums,
    ofWidth: (width: number) => SplitSums,
  ): Promise<void> {
    const findings = this.#findings, options = this.#options;
    const offset = offsetOf(this.#job.plan, layer, options.biasCorrection);
    const seen = {
      statistics: statisticsOf(layer, split, offset),
      offset,
      split,
      cuts: this.#widths.map((width) => ({
        width,
        split: ofWidth(width),
        statistics: statisticsOf(layer, ofWidth(width), offset),
      })),
      grid: findings.inputGrid(layer),
    };
    // A shared weight keeps the rounding of the first layer that uses it.
    const shared = findings.sharedWith(layer);
    const { warnings, ...settled } = await settleLayer(this.#job, layer, seen, shared, options);
    findings.setLayer(layer, settled, warnings);
  }

  /** Learns what can be learned of block `index`, now that its layers are rounded. */
  async #learn(index: number, types: Types): Promise<void> {
    const { batches } = this.#job.loaded, findings = this.#findings;
    const of = (kind: string) => 1000 * findings.secondsOf(kind);
    const running = of("ranges") + of("statistics") + of("advance"), rounding = of("rounding");
    const learned = await findings.timed("blocks", () =>
      this.#options.learner!.learn(
        index,
        findings.parts,
        types,
        { running, rounding },
        (share, detail) => this.#progress.add(share * batches, detail),
      ));
    findings.setLearned(learned);
  }

  /** The narrower widths whose models differ from the widest one by now. */
  get #narrowed(): readonly number[] {
    const nested = this.#job.plan.layers.some((layer) =>
      layer.grid.kind === "nested" && this.#findings.isRounded(layer)
    );
    return nested ? this.#widths : [];
  }

  /** Finds the grids of the activations that `outputs` depend on and that have none yet. */
  async #observe(types: Types, outputs: readonly string[]): Promise<void> {
    const { plan, loaded, pool } = this.#job, findings = this.#findings;
    const { ranged, shared, bits } = plan.activations;
    const nodes = ancestors(plan.graph.nodes, outputs, new Set(types.keys()));
    const computed = new Set([...types.keys(), ...nodes.flatMap((node) => node.output)]);
    for (const [name, source] of shared) if (computed.has(name)) computed.add(source);
    const names = ranged.filter((name) =>
      computed.has(name) && !findings.hasGrid(name) && !this.#unseen.has(name)
    );
    if (names.length === 0) return;
    await findings.timed("ranges", async () => {
      await openPart(pool, "quantized", this.#source("quantized"), types, names);
      const observers = await observeRanges(pool, loaded, "quantized", names);
      for (const [name, observer] of observers) {
        // What no sample shows has no range, and stays in float.
        if (observer.empty) this.#unseen.add(name);
        else findings.setGrid(name, rangedGrid(observer, this.#options.range, bits.get(name)!));
      }
      await pool.close();
    });
  }

  get #lanes(): number {
    return Math.min(LANES, this.#job.loaded.batches);
  }

  /** What one side's model is cut out of. */
  #source(side: Side): PartSource {
    const { plan } = this.#job;
    if (side === "float") return partsOf(plan.model);
    return simulatedParts(plan, this.#findings.parts, side === "quantized" ? undefined : side);
  }

  /**
   * The sums of every layer of `step` over all samples, as the model that is narrowed to `width`
   * sees them.
   */
  async #collect(
    types: Types,
    step: readonly LayerPlan[],
    width?: number,
  ): Promise<SplitSums[]> {
    const { plan, loaded, pool, seed } = this.#job, side = width ?? "quantized";
    const layers = step.map((layer) => {
      const input = tensorAsRead(plan, this.#findings.parts, layer.target.input);
      const paired = !this.#unpaired.has(layer.target.input);
      return collectLayer(plan, layer, loaded, { input, paired, seed });
    });
    const outputs = (paired: boolean) =>
      layers.filter((layer) => layer.paired === paired).map((layer) => layer.output);
    const read = [...layers.map((layer) => layer.input), ...outputs(false)];
    await openPart(pool, "float", this.#source("float"), types, outputs(true));
    await openPart(pool, "quantized", this.#source(side), types, read);
    const sums = await collectSums(
      pool,
      this.#lanes,
      { float: "float", quantized: "quantized", side },
      layers,
      (batches) => this.#progress.add(batches, step[0].target.name),
    );
    await pool.close();
    return sums;
  }

  /** Computes one side of all lanes' next segment. */
  async #advance(side: Side, types: Types, names: readonly string[]): Promise<void> {
    const { pool, signal } = this.#job;
    await this.#findings.timed("advance", async () => {
      await openPart(pool, "side", this.#source(side), types, names);
      const results = pool.perLane(
        this.#lanes,
        (client, lane) =>
          client.call(
            "advance",
            [lane, side, "side", names, Infinity],
            (batches) => this.#progress.add(batches / 2, "next segment"),
          ),
      );
      for await (const _ of results) checkAborted(signal);
      await pool.close();
    });
  }
}
