/**
 * Runs a model over all samples to see what its tensors are like, and hands over nothing but that.
 *
 * @module
 */

import { mergedRanges, type RangeState } from "../engine/range.ts";
import {
  addSurvey,
  type ChannelSums,
  type Survey,
  type SurveyedBatches,
  type SurveyedPart,
  type SurveyedTensor,
} from "../engine/survey.ts";
import { frontier } from "../graph/extract.ts";
import type { OnDone } from "../progress.ts";
import type { Job } from "./job.ts";
import { openPart, type PartSource, type Types, typesAt } from "./open_part.ts";

/** Bytes of tensors that a part of a model hands over for one batch, about. */
const PART_BYTES = 2 ** 26;

/** A part of a model, and how it is opened. */
export interface OpenedPart extends SurveyedPart {
  /** The tensors that are fed. */
  readonly types: Types;
  /** The tensors that are handed over. */
  readonly outputs: readonly string[];
}

/** What was seen, by tensor; channels by their axis, too. */
export class Surveys {
  readonly #ranges = new Map<string, RangeState>();
  readonly #surveys = new Map<string, Survey>();

  /** The range of the tensor `name`; undefined where no sample shows it. */
  range(name: string): RangeState | undefined {
    return this.#ranges.get(name);
  }

  /** The moments of the channels along `axis` of the tensor `name`. */
  channels(name: string, axis: number): ChannelSums | undefined {
    return this.#surveys.get(keyOf({ name, axis }))?.channels;
  }

  /** The same of the first batches alone. */
  firstChannels(name: string, axis: number): ChannelSums | undefined {
    return this.#surveys.get(keyOf({ name, axis }))?.first;
  }

  /** Adds what another lane saw of `tensor`. */
  merge(tensor: SurveyedTensor, { range, ...channels }: Survey): void {
    if (range) this.#ranges.set(tensor.name, mergedRanges(this.#ranges.get(tensor.name), range));
    const key = keyOf(tensor), survey = this.#surveys.get(key);
    if (survey === undefined) this.#surveys.set(key, channels);
    else addSurvey(survey, channels);
  }
}

function keyOf({ name, axis }: SurveyedTensor): string {
  return `${axis ?? "none"} ${name}`;
}

/** How much of the samples is looked at. */
export interface SurveyExtent extends SurveyedBatches {
  /** Lanes that are looked at. */
  readonly lanes: number;
  /** Lanes whose first batches are told apart. Default: all. */
  readonly firstLanes?: number;
}

/** What the tensors of `parts` are like, which `source` cuts out of a model, one after another. */
export async function surveyModel(
  { pool }: Pick<Job, "pool">,
  source: PartSource,
  parts: readonly OpenedPart[],
  { lanes, firstLanes = lanes, ...batches }: SurveyExtent,
  onDone?: OnDone,
): Promise<Surveys> {
  const asked: SurveyedPart[] = [];
  for (const { key, tensors, crossing, types, outputs } of parts) {
    await openPart(pool, key, source, types, outputs);
    // Layers side by side want the same of what they read.
    const distinct = new Map(tensors.map((tensor) => [keyOf(tensor), tensor]));
    asked.push({ key, tensors: [...distinct.values()], crossing });
  }
  const tensors = asked.flatMap((part) => part.tensors), surveys = new Surveys();
  const results = pool.perLane(
    lanes,
    (client, lane) => client.call("survey", [lane, asked, batches], onDone),
  );
  let lane = 0;
  for await (const result of results) {
    const isFirst = lane++ < firstLanes;
    result.forEach(({ first, ...survey }, i) =>
      surveys.merge(tensors[i], isFirst ? { ...survey, first } : survey)
    );
  }
  await pool.close();
  return surveys;
}

/**
 * The float model of `job` in parts that hand over no more than so much at a time of what
 * `tensorsOf` says is wanted of each tensor.
 */
export function partsToSurvey(
  job: Pick<Job, "plan" | "loaded">,
  tensorsOf: (name: string) => readonly SurveyedTensor[],
): OpenedPart[] {
  const { plan: { graph }, loaded: { shapes } } = job;
  const isWanted = (name: string) => tensorsOf(name).length > 0;
  const starts = [0];
  let bytes = 0;
  for (const [i, { output }] of graph.nodes.entries()) {
    const added = output.filter(isWanted).reduce(
      (sum, name) => sum + (shapes.get(name)?.bytes ?? 0),
      0,
    );
    if (bytes + added > PART_BYTES && frontier(graph, i).every((name) => graph.isTensor(name))) {
      starts.push(i);
      bytes = 0;
    }
    bytes += added;
  }
  return starts.map((start, p) => {
    const end = starts[p + 1] ?? graph.nodes.length;
    const types = typesAt(job, start);
    const crossing = p + 1 < starts.length ? frontier(graph, end) : [];
    const fed = p === 0 ? [...types.keys()] : [];
    const computed = graph.nodes.slice(start, end).flatMap(({ output }) => output);
    const surveyed = [...fed, ...computed].filter(isWanted);
    const tensors = surveyed.flatMap((name) => [...tensorsOf(name)]);
    return { key: `part ${p}`, tensors, crossing, types, outputs: [...surveyed, ...crossing] };
  });
}
