/**
 * Runs a plan: segment by segment, each layer is observed on what the quantized model before it
 * computes, rounded, and put in place before the next is looked at.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import { type Parts, type Rounding, tensorAsRead } from "../emit/build.ts";
import { cutRounding } from "../emit/narrow_rounding.ts";
import { ancestors, frontier } from "../graph/extract.ts";
import { unpairedTensors } from "../plan/pairing.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { EnginePool } from "../workers/pool.ts";
import { biasOf, offsetOf } from "../layer/bias.ts";
import type { SegmentLearner, Spent } from "./learner.ts";
import type { BlockReport } from "../report/report.ts";
import type { JobState, RangedGrid } from "./checkpoint.ts";
import { collectLayer, collectSums, observeRanges, statisticsOf } from "../layer/collect.ts";
import {
  openPart,
  partsOf,
  type PartSource,
  simulatedParts,
  type Types,
} from "../forward/open_part.ts";
import { LANES, type Side } from "../engine/lanes.ts";
import type { Calibrated, CalibrateOptions } from "./job.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { type RoundedLayer, roundLayer } from "../layer/round_layer.ts";
import type { SplitSums } from "../engine/statistics.ts";
import { findSegments, portionsOf, type Segment } from "./segments.ts";

/** Calibrates and rounds every layer of `plan` on the batches that `pool` holds. */
export async function calibrate(
  plan: Plan,
  loaded: LoadedBatches,
  pool: EnginePool,
  options: CalibrateOptions,
): Promise<Calibrated> {
  return await new Calibration(plan, loaded, pool, options).run();
}

class Calibration {
  readonly #plan: Plan;
  readonly #loaded: LoadedBatches;
  readonly #pool: EnginePool;
  readonly #options: CalibrateOptions;
  readonly #roundings = new Map<string, Rounding>();
  /** By the layer's output, as roundings are, in the order in which they were rounded. */
  readonly #errors = new Map<string, RoundedLayer["error"]>();
  readonly #grids = new Map<string, RangedGrid>();
  /** Activations that are to have a grid, but no sample shows a value of. */
  readonly #unseen = new Set<string>();
  /** Tensors whose rows need not be those of the float model. */
  readonly #unpaired: ReadonlySet<string>;
  readonly #blocks: BlockReport[] = [];
  readonly #seconds = new Map<string, number>();
  readonly #warnings: string[] = [];
  readonly #learner: SegmentLearner | undefined;
  /** The widths that grids are nested for, beside the widest. */
  readonly #widths: readonly number[];
  #done = 0;
  #total = 0;

  constructor(plan: Plan, loaded: LoadedBatches, pool: EnginePool, options: CalibrateOptions) {
    this.#plan = plan;
    this.#loaded = loaded;
    this.#pool = pool;
    this.#options = options;
    this.#widths = narrowerWidths(plan);
    this.#unpaired = unpairedTensors(plan);
    const { learner, state } = options;
    this.#learner = learner;
    for (const [output, { rounding, error }] of state?.layers ?? []) {
      this.#roundings.set(output, rounding);
      this.#errors.set(output, error);
    }
    for (const [name, grid] of state?.grids ?? []) this.#grids.set(name, grid);
    this.#warnings.push(...state?.warnings ?? []);
    this.#blocks.push(...state?.blocks as BlockReport[] ?? []);
  }

  get #parts(): Parts {
    const { tables } = this.#options;
    return { roundings: this.#roundings, grids: this.#grids, tables };
  }

  async run(): Promise<Calibrated> {
    const { batches, shapes } = this.#loaded;
    const found: readonly Segment[] = this.#learner?.segments ?? findSegments(this.#plan, shapes);
    const segments = found.map((own) => ({ ...own, steps: own.steps.flatMap(portionsOf) }));
    const seen = 1 + this.#widths.length;
    const passes = segments.reduce((sum, { steps }) => sum + (1 + seen) * steps.length + 1, -1);
    // One unit is one batch through one pass; a rounding, or learning a block, counts as one pass.
    this.#total = batches * (passes + (this.#learner ? segments.length : 0));
    for (const [i, segment] of segments.entries()) {
      const types = new Map(
        frontier(this.#plan.graph, segment.start).map((name) => [name, shapes.get(name)!]),
      );
      const last = segment === segments.at(-1);
      const crossing = last ? this.#plan.graph.outputs : frontier(this.#plan.graph, segment.end);
      // What an interrupted job had found is not looked for again, only computed with.
      const known = i < (this.#options.state?.segments ?? 0);
      if (!known) await this.#roundSegment(segment, types, crossing);
      else this.#advanceProgress((1 + seen) * batches * segment.steps.length, "done before");
      const learning = this.#learner !== undefined && !known;
      if (!last || learning) await this.#advance("float", types, crossing);
      if (learning) await this.#learn(i, types);
      if (!known) await this.#options.onState?.(this.#state(i + 1));
      if (last) continue;
      await this.#advance("quantized", types, crossing);
      for (const width of this.#cutWidths) await this.#advance(`cut${width}`, types, crossing);
      for (let lane = 0; lane < this.#lanes; lane++) {
        await this.#pool.ofLane(lane).call("turn", [lane]);
      }
    }
    await this.#pool.close();
    const byOutput = new Map(this.#plan.layers.map((layer) => [layer.target.output, layer]));
    return {
      parts: this.#parts,
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

  #state(segments: number): JobState {
    return {
      segments,
      layers: new Map(
        [...this.#errors].map((
          [output, error],
        ) => [output, { rounding: this.#roundings.get(output)!, error }]),
      ),
      grids: this.#grids,
      warnings: this.#warnings,
      blocks: this.#blocks,
    };
  }

  /** Rounds the layers of `segment`, step by step, and finds the grids of what leaves it. */
  async #roundSegment(segment: Segment, types: Types, crossing: readonly string[]): Promise<void> {
    for (const step of segment.steps) {
      checkAborted(this.#options.signal);
      await this.#observe(types, step.map((layer) => layer.target.input));
      const sums = await this.#timed("statistics", () => this.#collect(types, step));
      const cuts: (readonly [width: number, sums: SplitSums[]])[] = [];
      for (const width of this.#cutWidths) {
        cuts.push([
          width,
          await this.#timed("statistics", () => this.#collect(types, step, width)),
        ]);
      }
      for (let i = 0; i < step.length; i++) {
        checkAborted(this.#options.signal);
        const own = new Map(cuts.map(([width, sums]) => [width, sums[i]]));
        await this.#timed("rounding", () => this.#round(step[i], sums[i], own));
      }
      this.#advanceProgress(this.#loaded.batches, step[0].target.name);
    }
    await this.#observe(types, crossing);
  }

  /** Learns what can be learned of block `index`, now that its layers are rounded. */
  async #learn(index: number, types: Types): Promise<void> {
    const { batches } = this.#loaded;
    const learned = await this.#timed(
      "blocks",
      () =>
        this.#learner!.learn(
          index,
          this.#parts,
          types,
          this.#spent,
          (share, detail) => this.#advanceProgress(share * batches, detail),
        ),
    );
    for (const [output, rounding] of learned.roundings) this.#roundings.set(output, rounding);
    for (const [name, scale] of learned.scales) {
      const grid = this.#grids.get(name)!;
      const lo = -grid.zeroPoint * scale, hi = (2 ** grid.bits - 1 - grid.zeroPoint) * scale;
      this.#grids.set(name, { ...grid, scale, lo, hi });
    }
    this.#blocks.push(learned.report);
  }

  /** What behaves as the quantized model so far; or as the one that is cut to `width` bits. */
  #simulation(width?: number): PartSource {
    return simulatedParts(this.#plan, this.#parts, width);
  }

  /** The narrower widths whose models differ from the widest one by now. */
  get #cutWidths(): readonly number[] {
    const rounded = this.#plan.layers.filter(({ target }) => this.#roundings.has(target.output));
    return rounded.some(({ grid }) => grid.kind === "nested") ? this.#widths : [];
  }

  /** Finds the grids of the activations that `outputs` depend on and that have none yet. */
  async #observe(types: Types, outputs: readonly string[]): Promise<void> {
    const { own, shared, bits } = this.#plan.activations;
    const nodes = ancestors(this.#plan.graph.nodes, outputs, new Set(types.keys()));
    const computed = new Set([...types.keys(), ...nodes.flatMap((node) => node.output)]);
    for (const [name, source] of shared) if (computed.has(name)) computed.add(source);
    const names = own.filter((name) =>
      computed.has(name) && !this.#grids.has(name) && !this.#unseen.has(name)
    );
    if (names.length === 0) return;
    await this.#timed("ranges", async () => {
      await openPart(this.#pool, "quantized", this.#simulation(), types, names);
      const observers = await observeRanges(this.#pool, this.#loaded, "quantized", names);
      for (const [name, observer] of observers) {
        // What no sample shows has no range, and stays in float.
        if (observer.empty) this.#unseen.add(name);
        else this.#grids.set(name, observer.grid(this.#options.range, bits.get(name)!));
      }
      await this.#pool.close();
    });
  }

  get #lanes(): number {
    return Math.min(LANES, this.#loaded.batches);
  }

  /** The sums of every layer of `step` over all samples, as the model that is cut to `width` bits sees them. */
  async #collect(
    types: Types,
    step: readonly LayerPlan[],
    width?: number,
  ): Promise<SplitSums[]> {
    const plan = this.#plan, loaded = this.#loaded;
    const layers = step.map((layer) => {
      const input = tensorAsRead(plan, this.#parts, layer.target.input);
      const paired = !this.#unpaired.has(layer.target.input);
      return collectLayer(plan, layer, loaded, { input, paired, seed: this.#options.seed });
    });
    const outputs = (paired: boolean) =>
      layers.filter((layer) => layer.paired === paired).map((layer) => layer.output);
    await openPart(this.#pool, "float", partsOf(plan.model), types, outputs(true));
    await openPart(
      this.#pool,
      "quantized",
      this.#simulation(width),
      types,
      [...layers.map((layer) => layer.input), ...outputs(false)],
    );
    const name = step[0].target.name;
    const side = width === undefined ? "quantized" : `cut${width}` as const;
    const sums = await collectSums(
      this.#pool,
      this.#lanes,
      { float: "float", quantized: "quantized", side },
      layers,
      (done) => this.#advanceProgress(done, name),
    );
    await this.#pool.close();
    return sums;
  }

  /** Rounds `layer` by its sums, and those in the models that are cut to the widths of `cuts`. */
  async #round(
    layer: LayerPlan,
    split: SplitSums,
    cuts: ReadonlyMap<number, SplitSums>,
  ): Promise<void> {
    const plan = this.#plan;
    const { target } = layer;
    // A shared weight keeps the rounding of the first layer that uses it.
    const first = plan.layers.find((other) =>
      other.target.weight === target.weight && this.#errors.has(other.target.output)
    )?.target.output;
    const offset = offsetOf(plan, layer, this.#options.biasCorrection);
    const statistics = statisticsOf(layer, split, offset);
    const seen = statistics.count > 0, centred = offset.centred && seen;
    if (!seen) {
      this.#warnings.push(
        `${target.name}: no sample reached this layer, so that it was rounded by its weights alone; ` +
          `give samples that do`,
      );
    }
    const cutSums = this.#widths.map((width) => {
      const sums = cuts.get(width) ?? split;
      return {
        width,
        split: sums,
        statistics: statisticsOf(layer, sums, offset),
      };
    });
    const { levels, scales, lows, codebook, error } = first !== undefined
      ? { ...this.#roundings.get(first)!, error: this.#errors.get(first)! }
      : await roundLayer(plan, layer, split, statistics, this.#pool, {
        ...this.#options,
        offset,
        cuts: layer.grid.kind === "nested" ? cutSums : undefined,
      });
    const grid = this.#grids.get(plan.activations.shared.get(target.input) ?? target.input);
    const rounding = { levels, scales, lows, codebook };
    const { bias, raised } = biasOf(plan, layer, rounding, statistics, centred, grid);
    if (raised > 0) {
      this.#warnings.push(
        `${target.name}: the scales of ${raised} channels with almost no weight were raised, ` +
          `so that their biases fit into 32 bits`,
      );
    }
    this.#roundings.set(target.output, {
      ...rounding,
      bias,
      ...(cutSums.length > 0 && {
        cuts: cutSums.map(({ width, statistics }) => {
          const cut = cutRounding(layer, rounding, width);
          return { width, bias: biasOf(plan, layer, cut, statistics, centred, grid).bias };
        }),
      }),
    });
    this.#errors.set(target.output, error);
  }

  /** Computes one side of all lanes' next segment. */
  async #advance(side: Side, types: Types, names: readonly string[]): Promise<void> {
    await this.#timed("advance", async () => {
      const width = side.startsWith("cut") ? Number(side.slice(3)) : undefined;
      const source = side === "float" ? partsOf(this.#plan.model) : this.#simulation(width);
      await openPart(this.#pool, side, source, types, names);
      const results = this.#pool.perLane(
        this.#lanes,
        (client, lane) =>
          client.call(
            "advance",
            [lane, side, side, names],
            (done) => this.#advanceProgress(done / 2, "next segment"),
          ),
      );
      for await (const _ of results) checkAborted(this.#options.signal);
      await this.#pool.close();
    });
  }

  /** Milliseconds of the kinds of work besides learning, up to now. */
  get #spent(): Spent {
    const of = (kind: string) => 1000 * (this.#seconds.get(kind) ?? 0);
    return { running: of("ranges") + of("statistics") + of("advance"), rounding: of("rounding") };
  }

  #advanceProgress(done: number, detail: string): void {
    this.#done += done;
    this.#options.onProgress?.({
      stage: "quantize",
      done: this.#done,
      total: this.#total,
      detail,
    });
  }

  async #timed<T>(kind: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#seconds.set(kind, (this.#seconds.get(kind) ?? 0) + (performance.now() - start) / 1000);
    }
  }
}

/** The widths but the widest that a layer of `plan` has a nested grid for, falling. */
function narrowerWidths({ layers }: Plan): number[] {
  const widths = layers.flatMap(({ grid }) => grid.kind === "nested" ? grid.widths.slice(1) : []);
  return [...new Set(widths)].sort((a, b) => b - a);
}
