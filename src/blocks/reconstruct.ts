/**
 * Reconstruction, block by block: what is learned of each, in how much time, and why some stay as
 * their layers were rounded.
 *
 * @module
 */

import type { TensorInfo } from "../forward/batches.ts";
import { isApart } from "../forward/batching.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { notBySample } from "../engine/spool.ts";
import type { Types } from "../forward/open_part.ts";
import { AttuneError } from "../errors.ts";
import type { Parts } from "../emit/build.ts";
import { unsupported } from "../gradient/differentiate.ts";
import { nodeName } from "../graph/graph.ts";
import { unpairedTensors } from "../plan/pairing.ts";
import type { Plan } from "../plan/plan.ts";
import type { Job } from "../forward/job.ts";
import { costOfCheck, costsOf, TimeBudget } from "./time_budget.ts";
import type { LearnedSegment, OnShare, SegmentLearner, Spent } from "../calibrate/learner.ts";
import { batchesThatFit, type Block, cutBlocks } from "./partition.ts";
import type { BlockReport } from "../report/report.ts";
import { learnBlock } from "./learn.ts";
import { type BlockModel, blockModel } from "./model.ts";
import type { BlockSettings } from "./options.ts";
import { BlockSamples } from "./samples.ts";

/** Samples that run at a time in one worker. */
const SHARD = 8;
/** Layers with this many bits have nothing to gain that is worth its time. */
const ENOUGH_BITS = 8;

/**
 * The blocks of `plan` as they are learned, and how many samples run at a time.
 *
 * @param shapes every tensor of the float model, from a run on one batch: of one sample, unless the
 * model takes `fixed` of them in every run.
 * @param batch samples of a step.
 */
export function planBlocks(
  plan: Plan,
  shapes: ReadonlyMap<string, TensorInfo>,
  batch: number,
  fixed?: number,
): { blocks: Block[]; size: number; fixed: boolean } {
  const size = fixed ?? Math.min(SHARD, batch, batchesThatFit(plan, shapes));
  const blocks = cutBlocks(plan, { shapes, samples: fixed === undefined ? size : 1 });
  return { blocks, size, fixed: fixed !== undefined };
}

/** Learns the blocks of a plan, one after another. */
export class BlockLearner implements SegmentLearner {
  /** The blocks, in their order. */
  readonly segments: readonly Block[];
  readonly #job: Job;
  readonly #settings: LearnerSettings;
  readonly #samples: BlockSamples;
  readonly #budget: TimeBudget;
  readonly #shards: number;
  readonly #unpaired: ReadonlySet<string>;

  /** A learner of the blocks of `job`. */
  constructor(job: Job, settings: LearnerSettings) {
    const { plan, loaded, pool, seed } = job;
    this.#job = job;
    this.#settings = settings;
    this.#unpaired = unpairedTensors(plan);
    const { blocks, size, fixed } = planBlocks(
      plan,
      loaded.shapes,
      settings.batch,
      sizeOfShards(loaded),
    );
    this.segments = blocks;
    this.#shards = Math.ceil(settings.batch / size);
    this.#samples = new BlockSamples(loaded, { size, fixed, seed });
    const costs = costsOf(plan, loaded, this.segments);
    const check = costOfCheck(plan, loaded, settings.heldOut, pool.clients.length);
    this.#budget = new TimeBudget(settings.timeBudget, settings.started, costs, check);
  }

  /**
   * Learns block `index`, whose layers have been rounded in `parts`; all before it has `spent` so
   * much.
   */
  async learn(
    index: number,
    parts: Parts,
    types: Types,
    spent: Spent,
    onShare: OnShare,
  ): Promise<LearnedSegment> {
    const block = this.segments[index];
    const layers = block.steps.flat().map((layer) => layer.target.name);
    const stay = ({ outcome, note }: Stay): LearnedSegment => {
      onShare(1, layers[0]);
      const report = { layers, iterations: 0, outcome, note };
      return { roundings: new Map(), scales: new Map(), report };
    };
    const reason = this.#reasonToStay(index, spent);
    if (reason) return stay(reason);
    const model = blockModel(this.#job.plan, block, parts, types);
    const nothing = nothingToLearn(model);
    if (nothing) return stay(nothing);
    const { onGraph } = this.#settings;
    let shared = 0;
    try {
      const { roundings, scales, report } = await learnBlock(
        this.#job,
        model,
        parts,
        this.#samples,
        {
          ...this.#settings,
          shards: this.#shards,
          // Errors of few levels are large: learning only from them, weights would come to rely on
          // them.
          drop: this.#settings.drop ?? this.#job.plan.options.activationBits === 4,
          dimsOf: (name, samples) => this.#dimsOf(name, samples),
          onGraph: (graph) => onGraph?.(`block-${String(index + 1).padStart(3, "0")}`, graph),
          deadline: (error) => this.#budget.deadline(index, error, performance.now(), spent),
          onShare: (share) => {
            onShare(share - shared, layers[0]);
            shared = share;
          },
        },
      );
      return { roundings, scales, report: { layers, ...report } };
    } catch (error) {
      // A form of an operator that has no gradient shows when it is differentiated.
      if (!(error instanceof AttuneError) || error.code !== "bad-model") throw error;
      return stay({ outcome: "no gradient", note: error.message });
    } finally {
      onShare(1 - shared, layers[0]);
    }
  }

  /** Why block `index` is not learned, as far as that shows before its model is made. */
  #reasonToStay(index: number, spent: Spent): Stay | undefined {
    const block = this.segments[index];
    if (!this.#samples.enough) return { outcome: "too few samples", note: "too few samples" };
    const mixed = [...block.inputs, ...block.outputs].some((name) => this.#unpaired.has(name))
      ? "its rows are chosen by values, which quantization may choose otherwise"
      : this.#mixed(block);
    if (mixed !== undefined) return { outcome: "no single samples", note: mixed };
    return this.#budget.timeLeft(index, performance.now(), spent) === 0
      ? { outcome: "no time", note: "no time left" }
      : undefined;
  }

  /** Why samples cannot be picked out of the tensors around `block`, if they cannot. */
  #mixed({ inputs, outputs }: Block): string | undefined {
    const { uniform, bySample } = this.#job.loaded;
    if (!uniform) return "the samples have several shapes";
    const name = [...inputs, ...outputs].find((name) => bySample?.has(name) === false);
    return name && notBySample(name).message;
  }

  #dimsOf(name: string, samples: number): readonly number[] | undefined {
    const { batching, shapes } = this.#job.loaded, dims = shapes.get(name)?.dims;
    const { size: profiled = 1 } = batching;
    if (samples === profiled || dims === undefined) return dims;
    return dims.length === 0 ? undefined : [dims[0] / profiled * samples, ...dims.slice(1)];
  }
}

/** Why a block stays as its layers were rounded. */
type Stay = Required<Pick<BlockReport, "outcome" | "note">>;

/** Why the block of `model` is not learned, if there is nothing to learn, or no way to. */
function nothingToLearn({ layers, activations, model }: BlockModel): Stay | undefined {
  const coarse = layers.some(({ layer }) => layer.bits < ENOUGH_BITS);
  if (!coarse && activations.length === 0) {
    return { outcome: "enough bits", note: `all of ${ENOUGH_BITS} bits` };
  }
  const node = unsupported(model, layers.map(({ weight }) => weight));
  if (node === undefined) return undefined;
  const note = `node "${nodeName(node)}" (${node.opType}) has no gradient here`;
  return { outcome: "no gradient", note };
}

/** Samples of every shard, where the model decides it. */
function sizeOfShards({ batching }: LoadedBatches): number | undefined {
  // A batch of one whose samples lie along another axis is fed as it is.
  return isApart(batching) ? batching.size : 1;
}

/** What a learner goes by. */
export interface LearnerSettings extends BlockSettings {
  /** Samples that the result is checked on, at most. */
  readonly heldOut: number;
  /** When the job began, by `performance.now()`. */
  readonly started: number;
}
