/**
 * Calibration in one pass of the float model, for jobs that ask for little: every weight in 8 bits
 * and to its nearest level.
 *
 * Then no layer has anything to repair of those before it, and what it sees in the quantized model
 * is what it sees in the float one but for rounding errors of 8 bits. So ranges and the moments
 * that scales take are those of the float model, and layers are rounded side by side. What those
 * errors do to means (noise has one once it went through a Relu) biases make up for, layer by
 * layer, on a few samples. That is a tenth of the passes that going from layer to layer takes.
 *
 * @module
 */

import { tensorAsRead } from "../emit/build.ts";
import { tapShares } from "../engine/columns.ts";
import { LANES } from "../engine/lanes.ts";
import { RangeObserver } from "../engine/range.ts";
import { checkAborted } from "../errors.ts";
import type { Job } from "../forward/job.ts";
import { openPart, partsOf, simulatedParts, type Types, typesAt } from "../forward/open_part.ts";
import { fitsSession } from "../forward/relay.ts";
import { partsToSurvey, surveyModel, type Surveys } from "../forward/survey_model.ts";
import { frontier } from "../graph/extract.ts";
import { offsetOf } from "../layer/bias.ts";
import { channelStatistics, inputAxis } from "../layer/channel_moments.ts";
import { checkMeans, rangeBatches } from "../layer/collect.ts";
import { settleLayer } from "../layer/settle_layer.ts";
import { unpairedTensors } from "../plan/pairing.ts";
import { Progress } from "../progress.ts";
import { methodOf } from "../round/methods.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { CalibrateOptions } from "./calibrated.ts";
import { Findings, rangedGrid } from "./findings.ts";
import { findSegments, type Segment } from "./segments.ts";

/** Samples that biases are set right on, about. */
const FEW_SAMPLES = 32;

/** Whether `job` asks for so little that one pass of the float model tells all of it. */
export function isLittle(
  { plan }: Pick<Job, "plan">,
  { rounding, learner }: Pick<CalibrateOptions, "rounding" | "learner">,
): boolean {
  return methodOf(rounding).round === undefined && learner === undefined &&
    fitsSession(plan.graph) &&
    plan.layers.every(({ grid, bits }) => grid.kind === "uniform" && bits === 8) &&
    [...plan.activations.bits.values()].every((bits) => bits === 8);
}

/** A calibration in one pass. */
export class OnePass {
  readonly #job: Job;
  readonly #options: CalibrateOptions;
  readonly #findings: Findings;
  readonly #progress: Progress;
  /** Tensors whose rows need not be those of the float model: their means tell nothing. */
  readonly #unpaired: ReadonlySet<string>;
  readonly #lanes: number;
  /** Lanes that biases are set right on, and batches of each. */
  readonly #few: { readonly lanes: number; readonly batches: number };

  /** The calibration of `job`, which has to ask for little. */
  constructor(job: Job, options: CalibrateOptions) {
    const { batches, batchSize } = job.loaded;
    this.#job = job;
    this.#options = options;
    this.#findings = new Findings(job, options.tables, options.state);
    this.#unpaired = unpairedTensors(job.plan);
    this.#lanes = Math.min(LANES, batches);
    const few = Math.ceil(FEW_SAMPLES / batchSize), lanes = Math.min(this.#lanes, few);
    this.#few = { lanes, batches: Math.ceil(few / lanes) };
    // A unit is a batch in a pass; rounding all layers counts as one, and so does the walk over
    // biases.
    this.#progress = new Progress(job.onProgress, "quantize", 3 * batches);
  }

  /** Surveys the float model, and rounds every layer by what was seen. */
  async run(): Promise<Findings> {
    const { plan, loaded: { batches } } = this.#job, findings = this.#findings;
    const { state, onState } = this.#options;
    if (state !== undefined && state.segments > 0) {
      this.#progress.reach(3 * batches, "done before");
      return findings;
    }
    const surveys = await findings.timed("statistics", () => this.#survey());
    this.#progress.reach(batches);
    this.#setGrids(surveys);
    await findings.timed("rounding", async () => {
      for (const layer of plan.layers) {
        await this.#settle(layer, surveys);
        this.#progress.add(batches / plan.layers.length, layer.target.name);
      }
    });
    this.#progress.reach(batches);
    await findings.timed("biases", () => this.#setBiases(surveys));
    this.#progress.reach(batches);
    // All is one segment.
    await onState?.(findings.state(1));
    return findings;
  }

  /** Ranges of activations, and moments of what layers read, on all samples and on few. */
  async #survey(): Promise<Surveys> {
    const { plan, loaded } = this.#job, ranged = new Set(plan.activations.ranged);
    const axes = new Map<string, Set<number>>();
    for (const { target } of plan.layers) {
      axes.set(target.input, (axes.get(target.input) ?? new Set()).add(inputAxis(target)));
    }
    const parts = partsToSurvey(this.#job, (name) => {
      // The first axis is looked at together with the range.
      const [axis, ...others] = axes.get(name) ?? [], range = ranged.has(name);
      if (axis === undefined && !range) return [];
      return [{ name, range, axis }, ...others.map((axis) => ({ name, axis }))];
    });
    const { lanes, batches } = this.#few;
    const extent = {
      lanes: this.#lanes,
      firstLanes: lanes,
      ranged: rangeBatches(loaded),
      all: Infinity,
      first: batches,
    };
    const onDone = (batches: number) => this.#progress.add(batches, "one pass");
    return await surveyModel(this.#job, partsOf(plan.model), parts, extent, onDone);
  }

  #setGrids(surveys: Surveys): void {
    const { ranged, bits } = this.#job.plan.activations;
    for (const name of ranged) {
      const observer = new RangeObserver(), range = surveys.range(name);
      if (range) observer.merge(range);
      // What no sample shows has no range, and stays in float.
      if (observer.empty) continue;
      this.#findings.setGrid(name, rangedGrid(observer, this.#options.range, bits.get(name)!));
    }
  }

  /**
   * Rounds `layer` by what was seen of the float model; or, once it is rounded, finds its bias
   * anew.
   */
  async #settle(layer: LayerPlan, surveys: Surveys, shift?: Float64Array): Promise<void> {
    const { plan, signal } = this.#job, options = this.#options, findings = this.#findings;
    checkAborted(signal);
    const { target } = layer, offset = offsetOf(plan, layer, options.biasCorrection);
    const channels = surveys.channels(target.input, inputAxis(target));
    const statistics = channelStatistics(plan, layer, channels, this.#sharesOf(layer), {
      centred: offset.centred,
      shift,
    });
    const seen = {
      statistics: checkMeans(layer, statistics),
      offset,
      grid: findings.inputGrid(layer),
    };
    const { warnings, ...settled } = await settleLayer(
      this.#job,
      // Only the diagonal of H is known.
      { ...layer, gram: { kind: "tiles", size: 1 } },
      seen,
      findings.settled(layer) ?? findings.sharedWith(layer),
      options,
    );
    findings.setLayer(layer, settled, shift ? [] : warnings);
  }

  /** The share of columns in which each tap of `layer` meets a value; 1 where nobody saw it. */
  #sharesOf({ target: { geometry, input, output } }: LayerPlan): number[] {
    const { shapes } = this.#job.loaded, from = shapes.get(input), to = shapes.get(output);
    return from && to ? tapShares(geometry, from.dims, to.dims) : [1];
  }

  /**
   * Sets the biases right by the means that the quantized model has, from the first layer to the
   * last.
   */
  async #setBiases(surveys: Surveys): Promise<void> {
    const { plan, loaded, pool, signal } = this.#job;
    if (!this.#options.biasCorrection || plan.activations.ranged.length === 0) return;
    const segments = findSegments(plan, loaded.shapes);
    const source = simulatedParts(plan, this.#findings.parts);
    for (const segment of segments) {
      const types = typesAt(this.#job, segment.start);
      for (const step of segment.steps) await this.#setBiasesOf(step, types, surveys);
      this.#progress.add(loaded.batches / segments.length, "biases");
      if (segment.end === plan.graph.nodes.length) break;
      const names = frontier(plan.graph, segment.end);
      await openPart(pool, "segment", source, types, names);
      const results = pool.perLane(this.#few.lanes, async (client, lane) => {
        // The float model is done with: its side of the lanes is the quantized model's from here
        // on.
        await client.call("advance", [lane, "float", "segment", names, this.#few.batches]);
        await client.call("nextSegment", [lane]);
      });
      for await (const _ of results) checkAborted(signal);
      await pool.close();
    }
  }

  async #setBiasesOf(
    step: Segment["steps"][number],
    types: Types,
    surveys: Surveys,
  ): Promise<void> {
    const { plan } = this.#job, { parts } = this.#findings, { lanes, batches } = this.#few;
    const tensorOf = ({ target }: LayerPlan) => ({
      name: tensorAsRead(plan, parts, target.input),
      axis: inputAxis(target),
    });
    const tensors = step.map(tensorOf), outputs = tensors.map(({ name }) => name);
    const part = { key: "step", tensors, crossing: [], types, outputs };
    const extent = { lanes, ranged: 0, all: batches, first: batches };
    const quantized = await surveyModel(this.#job, simulatedParts(plan, parts), [part], extent);
    for (const layer of step) {
      const { target } = layer, { name, axis } = tensorOf(layer);
      const float = surveys.firstChannels(target.input, axis);
      const channels = quantized.channels(name, axis);
      const isPaired = !this.#unpaired.has(target.input);
      if (float === undefined || channels === undefined || !isPaired) continue;
      // What quantization adds to the mean of each channel, on the same samples.
      const shift = channels.sum.map((sum, c) => sum / channels.count - float.sum[c] / float.count);
      await this.#settle(layer, surveys, shift);
    }
  }
}
