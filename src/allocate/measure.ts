/**
 * Measures the layers of a plan on samples, in one pass of the float model: each layer's statistics
 * are finished, turned into a few numbers, and forgotten before the next layers' are collected.
 *
 * Beside what a layer's own outputs tell, what they mean for the model's is found; see
 * `sensitivity.ts`.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { offsetOf } from "../layer/bias.ts";
import { collectLayer, collectSums, statisticsOf } from "../layer/collect.ts";
import { LANES } from "../engine/lanes.ts";
import { findSegments } from "../calibrate/segments.ts";
import type { Statistics } from "../engine/statistics.ts";
import { openPart, partsOf, type Types, typesAt } from "../forward/open_part.ts";
import { frontier } from "../graph/extract.ts";
import { checkWhole } from "../plan/memory.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { Progress } from "../progress.ts";
import type { Job } from "../forward/job.ts";
import type { EnginePool } from "../workers/pool.ts";
import { gradientNorms, type ModelGradient, modelGradient } from "./gradients.ts";
import {
  type CollectedLayer,
  measureCollected,
  type MeasuredLayer,
  withSensitivity,
} from "./layer_errors.ts";
import { distinctLayers, type LayerMeasures } from "./layer_measures.ts";
import { PROBE_SAMPLES, probeLayer } from "./sensitivity.ts";

/** Bytes of Gram matrices that a worker collects at a time, unless one layer has more. */
const GRAM_BYTES = 2 ** 26;

/** Options of {@linkcode measure}. */
export interface MeasureOptions {
  /** Damping of H relative to the mean of its diagonal. */
  readonly damping: number;
  /** Whether biases will set means right: then only the variance of an error counts. */
  readonly biasCorrection: boolean;
  /** Whether gradients are measured, too; `"if possible"` leaves them out where a node has none. */
  readonly gradients?: boolean | "if possible";
  /** Hears of a layer's statistics before they are forgotten. */
  readonly onLayer?: (layer: LayerPlan, statistics: Statistics, centred: boolean) => Promise<void>;
}

/**
 * Measures the distinct layers of the plan of `job` on the batches that its pool holds, which stay
 * as they are.
 */
export async function measure(job: Job, options: MeasureOptions): Promise<LayerMeasures[]> {
  checkWhole(job.plan.graph, "measure the layers of");
  return await new Measurement(job, options).run();
}

class Measurement {
  readonly #job: Job;
  readonly #options: MeasureOptions;
  readonly #lanes: number;
  /** Lanes that sensitivity is found on, and batches of each. */
  readonly #probes: { readonly lanes: number; readonly batches: number };
  readonly #outputs: readonly string[];
  #progress = new Progress(undefined, "measure", 0);

  constructor(job: Job, options: MeasureOptions) {
    const { plan, loaded } = job;
    this.#job = job;
    this.#options = options;
    this.#lanes = Math.min(LANES, loaded.batches);
    // At least two lanes, so that two workers have something to do.
    const batches = Math.max(2, Math.ceil(PROBE_SAMPLES / loaded.batchSize));
    const lanes = Math.min(this.#lanes, batches);
    this.#probes = { lanes, batches: Math.round(batches / lanes) };
    this.#outputs = [...new Set(plan.graph.outputs)];
  }

  async run(): Promise<LayerMeasures[]> {
    const { batches, shapes } = this.#job.loaded;
    const gradient = this.#gradient();
    const segments = findSegments(this.#job.plan, shapes);
    const distinct = new Set(distinctLayers(this.#job.plan));
    const work = segments.map((segment) => portions(segment.steps.flat(), distinct));
    const probes = Math.min(batches, this.#probes.lanes * this.#probes.batches);
    const units = batches * (work.flat().length + segments.length - 1) + distinct.size * probes;
    this.#progress = new Progress(this.#job.onProgress, "measure", units);
    await this.#everyLane((client, lane) => client.call("keepSamples", [lane]));
    const inputs = typesAt(this.#job, 0);
    await openPart(this.#job.pool, "float", partsOf(this.#job.plan.model), inputs, this.#outputs);
    const recorded = this.#job.pool.perLane(
      this.#probes.lanes,
      (client, lane) => client.call("recordReference", [lane, "float", this.#probes.batches]),
    );
    for await (const _ of recorded) checkAborted(this.#job.signal);
    const measured: LayerMeasures[] = [];
    for (const [i, segment] of segments.entries()) {
      const types = typesAt(this.#job, segment.start);
      for (const layers of work[i]) {
        checkAborted(this.#job.signal);
        for (const each of await this.#measure(types, layers)) {
          const { layer, probe } = each, { name } = layer.target;
          const sensitivity = await probeLayer(
            this.#job.plan,
            this.#job.pool,
            { layer, types, start: segment.start, lanes: this.#probes.lanes, ...probe },
            (done) => this.#progress.add(done, name),
          );
          measured.push(withSensitivity(each, sensitivity));
        }
      }
      if (i < segments.length - 1) {
        await this.#advance(types, frontier(this.#job.plan.graph, segment.end));
      }
    }
    await this.#job.pool.close();
    await this.#everyLane((client, lane) => client.call("rewindToSamples", [lane]));
    if (gradient === undefined) return measured;
    const norms = await gradientNorms(this.#job, gradient);
    return measured.map((measures) => ({
      ...measures,
      outputs: { ...measures.outputs!, gradient: norms.get(measures.layer.target.weight) },
    }));
  }

  /** The gradient of the model, where it is asked for; found before any work is done. */
  #gradient(): ModelGradient | undefined {
    const { gradients } = this.#options;
    if (!gradients) return undefined;
    try {
      return modelGradient(this.#job.plan, this.#job.loaded);
    } catch (error) {
      const refused = error instanceof AttuneError && error.code === "bad-option";
      if (!refused || gradients !== "if possible") throw error;
      return undefined;
    }
  }

  async #everyLane(work: Parameters<EnginePool["perLane"]>[1]): Promise<void> {
    for await (const _ of this.#job.pool.perLane(this.#lanes, work)) {
      checkAborted(this.#job.signal);
    }
  }

  /** What the statistics of `layers` tell. */
  async #measure(types: Types, layers: readonly LayerPlan[]): Promise<MeasuredLayer[]> {
    const collected = await this.#collect(types, layers);
    const measured = await measureCollected(this.#job, collected, this.#options);
    for (const { layer, statistics, centred } of collected) {
      await this.#options.onLayer?.(layer, statistics, centred);
    }
    return measured;
  }

  /** The statistics of `layers`, by one run of the float model. */
  async #collect(types: Types, layers: readonly LayerPlan[]): Promise<CollectedLayer[]> {
    const { plan, seed } = this.#job, { biasCorrection } = this.#options;
    const requests = layers.map((layer) => ({
      ...collectLayer(plan, layer, this.#job.loaded, {
        input: layer.target.input,
        paired: true,
        seed,
      }),
      cross: false,
    }));
    const tensors = requests.flatMap(({ input, output }) => [input, output]);
    await this.#job.pool.close();
    await openPart(this.#job.pool, "float", partsOf(plan.model), types, tensors);
    const keys = { float: "float", quantized: "float" }, [{ target }] = layers;
    const split = await collectSums(
      this.#job.pool,
      this.#lanes,
      keys,
      requests,
      (done) => this.#progress.add(done, target.name),
    );
    await this.#job.pool.close();
    return layers.map((layer, l) => {
      const offset = offsetOf(plan, layer, biasCorrection);
      const statistics = statisticsOf(layer, split[l], offset);
      // Without samples there is no mean to set right.
      return { layer, statistics, centred: offset.centred && statistics.count > 0 };
    });
  }

  /** Keeps what the float model computes of `names`, for the next segment. */
  async #advance(types: Types, names: readonly string[]): Promise<void> {
    await openPart(this.#job.pool, "float", partsOf(this.#job.plan.model), types, names);
    await this.#everyLane((client, lane) =>
      client.call(
        "advance",
        [lane, "float", "float", names, Infinity],
        (done) => this.#progress.add(done, "next segment"),
      )
    );
    await this.#everyLane((client, lane) => client.call("nextSegment", [lane]));
    await this.#job.pool.close();
  }
}

/** `layers`, those in `distinct`, in portions whose Gram matrices fit into memory together. */
function portions(
  layers: readonly LayerPlan[],
  distinct: ReadonlySet<LayerPlan>,
): LayerPlan[][] {
  const groups: LayerPlan[][] = [];
  let total = Infinity;
  for (const layer of layers.filter((layer) => distinct.has(layer))) {
    const { groups: matrices, depth } = layer.target;
    const bytes = 4 * matrices * depth * (layer.gram.kind === "full" ? depth : layer.gram.size);
    if (total + bytes > GRAM_BYTES) [groups[groups.length], total] = [[], 0];
    groups[groups.length - 1].push(layer);
    total += bytes;
  }
  return groups;
}
