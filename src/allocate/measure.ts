/**
 * Measures the layers of a plan on samples, in one pass of the float model: each layer's statistics are
 * finished, turned into a few numbers, and forgotten before the next layers' are collected.
 *
 * Beside what a layer's own outputs tell, what they mean for the model's is found; see `sensitivity.ts`.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { biasOf, offsetOf } from "../layer/bias.ts";
import { collectLayer, collectSums, statisticsOf } from "../layer/collect.ts";
import { LANES } from "../engine/lanes.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { findSegments } from "../calibrate/segments.ts";
import type { Statistics } from "../engine/statistics.ts";
import { openPart, partsOf, type Types } from "../forward/open_part.ts";
import type { Rounding } from "../emit/build.ts";
import { frontier } from "../graph/extract.ts";
import { checkWhole, leastShares } from "../plan/memory.ts";
import type { Plan } from "../plan/plan.ts";
import { layerAtWidth } from "../plan/layer.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/targets.ts";
import type { OnProgress } from "../progress.ts";
import { problemOf, sharesOf } from "../round/problem.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { WidthErrors } from "../round/width_errors.ts";
import { gradientNorms, type ModelGradient, modelGradient } from "./gradients.ts";
import {
  distinctLayers,
  type LayerMeasures,
  spectrumFrom,
  spectrumProblem,
  weightMeasures,
} from "./layer_measures.ts";
import { WIDTHS } from "../strategies/measures.ts";
import { PROBE_BITS, PROBE_SAMPLES, probeLayer } from "./sensitivity.ts";

/** Bytes of Gram matrices that a worker collects at a time, unless one layer has more. */
const GRAM_BYTES = 2 ** 26;

/** Options of {@linkcode measure}. */
export interface MeasureOptions {
  /** Damping of H relative to the mean of its diagonal. */
  readonly damping: number;
  /** Whether biases will set means right: then only the variance of an error counts. */
  readonly biasCorrection: boolean;
  /** Decides which positions are looked at. */
  readonly seed: number;
  /** Whether gradients are measured, too; `"if possible"` leaves them out where a node has none. */
  readonly gradients?: boolean | "if possible";
  /** Hears of a layer's statistics before they are forgotten. */
  readonly onLayer?: (layer: LayerPlan, statistics: Statistics, centred: boolean) => Promise<void>;
  /** Stops the work. */
  readonly signal?: AbortSignal;
  /** Hears of progress, stage "measure". */
  readonly onProgress?: OnProgress;
}

/** Measures the distinct layers of `plan` on the batches that `pool` holds, which stay as they are. */
export async function measure(
  plan: Plan,
  loaded: LoadedBatches,
  pool: EnginePool,
  options: MeasureOptions,
): Promise<LayerMeasures[]> {
  checkWhole(plan.graph, "measure the layers of");
  return await new Measurement(plan, loaded, pool, options).run();
}

/** What is found of a layer before it is probed. */
interface Found {
  readonly layer: LayerPlan;
  readonly measures: LayerMeasures;
  readonly eigenvalues: Float64Array;
  readonly errors: readonly number[];
  readonly trace: number;
  /** The layer rounded to {@linkcode PROBE_BITS}, and its relative error. */
  readonly probe: { readonly rounding: Rounding; readonly error: number };
}

class Measurement {
  readonly #plan: Plan;
  readonly #loaded: LoadedBatches;
  readonly #pool: EnginePool;
  readonly #options: MeasureOptions;
  readonly #lanes: number;
  /** Lanes that sensitivity is found on, and batches of each. */
  readonly #probes: { readonly lanes: number; readonly batches: number };
  readonly #outputs: readonly string[];
  #done = 0;
  #total = 0;

  constructor(plan: Plan, loaded: LoadedBatches, pool: EnginePool, options: MeasureOptions) {
    this.#plan = plan;
    this.#loaded = loaded;
    this.#pool = pool;
    this.#options = options;
    this.#lanes = Math.min(LANES, loaded.batches);
    // At least two lanes, so that two workers have something to do.
    const batches = Math.max(2, Math.ceil(PROBE_SAMPLES / loaded.batchSize));
    const lanes = Math.min(this.#lanes, batches);
    this.#probes = { lanes, batches: Math.round(batches / lanes) };
    this.#outputs = [...new Set(plan.graph.outputs)];
  }

  async run(): Promise<LayerMeasures[]> {
    const { batches, shapes } = this.#loaded;
    const gradient = this.#gradient();
    const segments = findSegments(this.#plan, shapes);
    const distinct = new Set(distinctLayers(this.#plan));
    const work = segments.map((segment) => portions(segment.steps.flat(), distinct));
    const probes = Math.min(batches, this.#probes.lanes * this.#probes.batches);
    this.#total = batches * (work.flat().length + segments.length - 1) + distinct.size * probes;
    await this.#everyLane((client, lane) => client.call("keep", [lane]));
    const inputs = this.#typesAt(0);
    await openPart(this.#pool, "float", partsOf(this.#plan.model), inputs, this.#outputs);
    const remembered = this.#pool.perLane(
      this.#probes.lanes,
      (client, lane) => client.call("remember", [lane, "float", this.#probes.batches]),
    );
    for await (const _ of remembered) checkAborted(this.#options.signal);
    const measured: LayerMeasures[] = [];
    for (const [i, segment] of segments.entries()) {
      const types = this.#typesAt(segment.start);
      for (const layers of work[i]) {
        checkAborted(this.#options.signal);
        for (const found of await this.#measure(types, layers)) {
          const { layer, probe } = found, { name } = layer.target;
          const sensitivity = await probeLayer(
            this.#plan,
            this.#pool,
            { layer, types, start: segment.start, lanes: this.#probes.lanes, ...probe },
            (done) => this.#advanceProgress(done, name),
          );
          measured.push(complete(found, sensitivity));
        }
      }
      if (i < segments.length - 1) {
        await this.#advance(types, frontier(this.#plan.graph, segment.end));
      }
    }
    await this.#pool.close();
    await this.#everyLane((client, lane) => client.call("rewind", [lane]));
    if (gradient === undefined) return measured;
    const norms = await gradientNorms(
      this.#plan,
      this.#loaded,
      this.#pool,
      gradient,
      this.#options,
    );
    return measured.map((own) => ({
      ...own,
      outputs: { ...own.outputs!, gradient: norms.get(own.layer.target.weight) },
    }));
  }

  /** The gradient of the model, where it is asked for; found before any work is done. */
  #gradient(): ModelGradient | undefined {
    const { gradients } = this.#options;
    if (!gradients) return undefined;
    try {
      return modelGradient(this.#plan, this.#loaded);
    } catch (error) {
      const refused = error instanceof AttuneError && error.code === "bad-option";
      if (!refused || gradients !== "if possible") throw error;
      return undefined;
    }
  }

  /** The tensors that cross before node `position`. */
  #typesAt(position: number): Types {
    const { graph } = this.#plan, { shapes } = this.#loaded;
    return new Map(frontier(graph, position).map((name) => [name, shapes.get(name)!]));
  }

  async #everyLane(work: Parameters<EnginePool["perLane"]>[1]): Promise<void> {
    for await (const _ of this.#pool.perLane(this.#lanes, work)) {
      checkAborted(this.#options.signal);
    }
  }

  /** What the statistics of `layers` tell. */
  async #measure(types: Types, layers: readonly LayerPlan[]): Promise<Found[]> {
    const plan = this.#plan, { seed, biasCorrection, damping } = this.#options;
    const wanted = layers.map((layer) => ({
      ...collectLayer(plan, layer, this.#loaded, { input: layer.target.input, paired: true, seed }),
      cross: false,
    }));
    const tensors = wanted.flatMap(({ input, output }) => [input, output]);
    await this.#pool.close();
    await openPart(this.#pool, "float", partsOf(plan.model), types, tensors);
    const keys = { float: "float", quantized: "float" }, [{ target }] = layers;
    const split = await collectSums(
      this.#pool,
      this.#lanes,
      keys,
      wanted,
      (done) => this.#advanceProgress(done, target.name),
    );
    await this.#pool.close();
    const jobs = layers.map((layer, l) => {
      const offset = offsetOf(plan, layer, biasCorrection);
      const statistics = statisticsOf(layer, split[l], offset);
      // Without samples there is no mean to set right.
      const centred = offset.centred && statistics.count > 0;
      return { layer, statistics, centred, weight: readWeight(plan.graph, layer.target) };
    });
    const plain: Float64Array[] = [], shaped: Float64Array[] = [];
    const errors: WidthErrors[][] = layers.map(() => []);
    await this.#pool.run(jobs.flatMap(({ layer, statistics, weight }, l) => [
      async (client) => {
        plain[l] = await client.call("spectrum", [spectrumProblem(layer, weight)]);
      },
      async (client) => {
        const moments = { gram: statistics.gram, damping };
        shaped[l] = await client.call("spectrum", [spectrumProblem(layer, weight, moments)]);
      },
      ...sharesOf(layer, leastShares(layer.target)).map(
        (share, s) => async (client: EnginePool["clients"][number]) => {
          const problems = WIDTHS.map((bits) =>
            problemOf(layerAtWidth(plan, layer, bits), share, weight, statistics, {
              ...this.#options,
              rounding: { kind: "nearest" },
              floatTargetShift: false,
              scaleRefit: false,
              strength: Infinity,
              index: 0,
            })
          );
          errors[l][s] = await client.call("widthErrors", [problems, WIDTHS.indexOf(PROBE_BITS)]);
        },
      ),
    ]));
    const found: Found[] = [];
    for (const [l, { layer, statistics, centred }] of jobs.entries()) {
      const sum = joined(errors[l]);
      const relative = [...sum.output].map((error) => sum.power > 0 ? error / sum.power : 0);
      const { bias } = biasOf(
        plan,
        layerAtWidth(plan, layer, PROBE_BITS),
        sum.kept,
        statistics,
        centred,
        undefined,
      );
      found.push({
        layer,
        measures: weightMeasures(layer, plain[l], sum.weight),
        eigenvalues: shaped[l],
        errors: relative,
        trace: meanDiagonal(statistics.gram, layer),
        probe: {
          rounding: { ...sum.kept, bias },
          error: relative[WIDTHS.indexOf(PROBE_BITS)],
        },
      });
      await this.#options.onLayer?.(layer, statistics, centred);
    }
    return found;
  }

  /** Keeps what the float model computes of `names`, for the next segment. */
  async #advance(types: Types, names: readonly string[]): Promise<void> {
    await openPart(this.#pool, "float", partsOf(this.#plan.model), types, names);
    await this.#everyLane((client, lane) =>
      client.call(
        "advance",
        [lane, "float", "float", names],
        (done) => this.#advanceProgress(done, "next segment"),
      )
    );
    await this.#everyLane((client, lane) => client.call("turn", [lane]));
    await this.#pool.close();
  }

  #advanceProgress(done: number, detail: string): void {
    this.#done += done;
    const { onProgress } = this.#options;
    onProgress?.({ stage: "measure", done: this.#done, total: this.#total, detail });
  }
}

/** `layers`, those in `wanted`, in portions whose Gram matrices fit into memory together. */
function portions(layers: readonly LayerPlan[], wanted: ReadonlySet<LayerPlan>): LayerPlan[][] {
  const found: LayerPlan[][] = [];
  let bytes = Infinity;
  for (const layer of layers.filter((layer) => wanted.has(layer))) {
    const { groups, depth } = layer.target;
    const own = 4 * groups * depth * (layer.gram.kind === "full" ? depth : layer.gram.size);
    if (bytes + own > GRAM_BYTES) [found[found.length], bytes] = [[], 0];
    found[found.length - 1].push(layer);
    bytes += own;
  }
  return found;
}

/** The errors of all shares of a layer. */
function joined(shares: readonly WidthErrors[]): Required<WidthErrors> & { kept: Rounding } {
  const output = new Float64Array(WIDTHS.length), weight = new Float64Array(WIDTHS.length);
  for (const share of shares) {
    share.output.forEach((error, i) => output[i] += error);
    share.weight.forEach((error, i) => weight[i] += error);
  }
  return {
    output,
    weight,
    power: shares.reduce((sum, share) => sum + share.power, 0),
    kept: {
      levels: Int8Array.from(shares.flatMap(({ kept }) => [...kept!.levels])),
      scales: Float32Array.from(shares.flatMap(({ kept }) => [...kept!.scales])),
      lows: Int8Array.from(shares.flatMap(({ kept }) => [...kept!.lows])),
    },
  };
}

/** The mean of the diagonal of H, over all groups. */
function meanDiagonal(gram: Float32Array, { target }: LayerPlan): number {
  const { groups, depth } = target;
  const width = gram.length / (groups * depth);
  let sum = 0;
  for (let i = 0; i < groups * depth; i++) sum += gram[i * width + i % width];
  return sum / (groups * depth);
}

function complete(
  { layer, measures, eigenvalues, errors, trace }: Found,
  sensitivity: number,
): LayerMeasures {
  const spectrum = spectrumFrom(layer, eigenvalues);
  return { ...measures, outputs: { spectrum, errors, trace, sensitivity } };
}
