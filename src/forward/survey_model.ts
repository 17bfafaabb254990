/**
 * Runs a model over all samples to see what its tensors are like, and hands over nothing but that.
 *
 * @module
 */

import { LANES } from "../engine/lanes.ts";
import {
  mergeSurveys,
  type Survey,
  type SurveyedPart,
  type SurveyedTensor,
} from "../engine/survey.ts";
import { frontier } from "../graph/extract.ts";
import type { OnDone } from "../progress.ts";
import type { Job } from "./job.ts";
import { openPart, type PartSource, type Types } from "./open_part.ts";

/** Bytes of tensors that a part of a model hands over for one batch, about. */
const PART_BYTES = 2 ** 26;

/** A part of a model, and how it is opened. */
export interface OpenedPart extends SurveyedPart {
  /** The tensors that are fed. */
  readonly types: Types;
  /** The tensors that are handed over. */
  readonly outputs: readonly string[];
}

/** What was seen, by tensor and what was wanted of it. */
export class Surveys {
  readonly #surveys = new Map<string, Survey>();

  /** What was seen of `tensor`; nothing where no sample shows it. */
  of(tensor: SurveyedTensor): Survey {
    return this.#surveys.get(keyOf(tensor)) ?? {};
  }

  /** Adds what another lane saw of `tensor`. */
  merge(tensor: SurveyedTensor, survey: Survey): void {
    const key = keyOf(tensor), known = this.#surveys.get(key);
    if (known === undefined) this.#surveys.set(key, survey);
    else mergeSurveys(known, survey);
  }
}

function keyOf({ name, axis, batches }: SurveyedTensor): string {
  return `${axis ?? "range"} ${batches} ${name}`;
}

/** What the tensors of `parts` are like, which `source` cuts out of a model, one after another. */
export async function surveyModel(
  { loaded, pool }: Pick<Job, "loaded" | "pool">,
  source: PartSource,
  parts: readonly OpenedPart[],
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
    Math.min(LANES, loaded.batches),
    (client, lane) => client.call("survey", [lane, asked], onDone),
  );
  for await (const result of results) {
    result.forEach((survey, i) => surveys.merge(tensors[i], survey));
  }
  await pool.close();
  return surveys;
}

/**
 * The float model of `job` in parts that hand over no more than so much at a time of what `tensorsOf` says
 * is wanted of each tensor.
 */
export function partsToSurvey(
  { plan: { graph }, loaded: { shapes } }: Pick<Job, "plan" | "loaded">,
  tensorsOf: (name: string) => readonly SurveyedTensor[],
): OpenedPart[] {
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
    const types = new Map(frontier(graph, start).map((name) => [name, shapes.get(name)!]));
    const crossing = p + 1 < starts.length ? frontier(graph, end) : [];
    const fed = p === 0 ? [...types.keys()] : [];
    const computed = graph.nodes.slice(start, end).flatMap(({ output }) => output);
    const wanted = [...fed, ...computed].filter(isWanted);
    const tensors = wanted.flatMap((name) => [...tensorsOf(name)]);
    return { key: `part ${p}`, tensors, crossing, types, outputs: [...wanted, ...crossing] };
  });
}
