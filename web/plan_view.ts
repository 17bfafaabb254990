/**
 * From what the visitor chose to a plan, and from a plan to what the page shows of it.
 *
 * @module
 */

import { allocate } from "../src/allocate/allocate.ts";
import { type LayerMeasures, measureWeights } from "../src/allocate/layer_measures.ts";
import { distinctLayers } from "../src/allocate/layer_measures.ts";
import { fileBytes } from "../src/allocate/size.ts";
import { lengthOf, modelChunks } from "../src/onnx/chunks.ts";
import type { Model } from "../src/onnx/model.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";
import type { Override, PlanOptions } from "../src/plan/options.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import { formatSpec } from "../src/samples/sample.ts";
import { solverPool } from "../src/workers/pool.ts";
import { jointLengthPerWeight } from "../src/strategies/coding_length.ts";
import type { JobOptions, PlanRow, PlanView } from "./messages.ts";

/** The relative squared error that coding lengths are told at: about what 4 bits give. */
const ERROR = 0.01;
/** Widths that a layer may have. */
const LEAST = 2, MOST = 8;

/** The plan's options for what the visitor chose. */
export function planOptionsOf(options: JobOptions): PlanOptions {
  const { bits, activationBits, format } = options;
  return { bits, activationBits, format, overrides: overridesOf(options) };
}

/** Widths by layer: those of the slider, then those of the visitor. */
export function overridesOf({ spread, chosen }: JobOptions): Override[] {
  const byVisitor = new Set(chosen.map(([name]) => name));
  const bySlider = spread.filter(([name]) => !byVisitor.has(name));
  return [...bySlider, ...chosen].map(([pattern, bits]) => ({ pattern, bits }));
}

/** A model that is being planned for. */
export class Planner {
  readonly #model: Model;
  /** The plan without choices: it has every layer that could be quantized. */
  #all: Plan | undefined;
  #range: readonly [number, number] = [0, 0];
  #measures = new Map<string, LayerMeasures>();
  readonly #solver = solverPool();
  /** What all of the above belong to. */
  #key = "";

  /** Plans for `model`. */
  constructor(model: Model) {
    this.#model = model;
  }

  /** The plan for `options`. */
  plan(options: JobOptions): Plan {
    return makePlan(this.#model, planOptionsOf(options));
  }

  /** The same as the page shows it. */
  view(options: JobOptions): PlanView {
    const all = this.#prepare(options), plan = this.plan(options);
    const layers = new Map(plan.layers.map((layer) => [layer.target.name, layer]));
    const chosen = new Set(options.chosen.map(([name]) => name));
    const rows = all.layers.map(({ target, bytesBefore }): PlanRow => {
      const layer = layers.get(target.name);
      return {
        name: target.name,
        op: target.op,
        shape: target.shape,
        weights: target.groups * target.rows * target.depth,
        bits: layer?.bits ?? "skip",
        by: chosen.has(target.name)
          ? "you"
          : layer?.note === "first or last layer"
          ? "edge"
          : layer?.note === "override"
          ? "slider"
          : undefined,
        before: bytesBefore,
        after: layer?.bytesAfter ?? bytesBefore,
      };
    });
    const names = new Set(rows.map(({ name }) => name));
    const quantized = rows.filter(({ bits }) => bits !== "skip");
    const weights = quantized.reduce((sum, row) => sum + row.weights, 0);
    return {
      model: this.#model.name,
      inputs: plan.graph.inputs.map(inWords).join(", "),
      rows,
      skipped: plan.skipped.filter(({ name }) => !names.has(name)),
      prepared: plan.prepared,
      size: { before: lengthOf(modelChunks(this.#model)), after: fileBytes(plan) },
      range: this.#range,
      averageBits: quantized.reduce((sum, row) => sum + row.weights * Number(row.bits), 0) /
        Math.max(1, weights),
    };
  }

  /** The coding length of a layer's weights, in bits each; layers that share a weight have one. */
  async codingLength(options: JobOptions, name: string): Promise<number> {
    return jointLengthPerWeight(await this.#measure(this.#prepare(options), name), ERROR);
  }

  /**
   * Widths with which the file has `bytes` at most: the one that most layers get, and those of the
   * others. Layers that the visitor chose widths for keep them.
   */
  async spread(
    options: JobOptions,
    bytes: number,
  ): Promise<Pick<JobOptions, "bits" | "spread">> {
    const all = this.#prepare(options);
    const plan = makePlan(this.#model, {
      ...planOptionsOf({ ...options, spread: [] }),
      bits: { kind: "budget", budget: { kind: "size", bytes } },
    });
    const measures: LayerMeasures[] = [];
    for (const layer of distinctLayers(plan)) {
      const known = await this.#measure(all, layer.target.name);
      measures.push({ ...known, layer, free: layer.free });
    }
    const { allocation } = allocate(plan, measures);
    const free = allocation!.layers.filter(({ free }) => free);
    const counts = new Map<number, number>();
    for (const { bits } of free) counts.set(bits, (counts.get(bits) ?? 0) + 1);
    const [[bits]] = [...counts, [options.bits, 0]].sort(([, a], [, b]) => b - a);
    return {
      bits,
      spread: free.filter((layer) => layer.bits !== bits).map(({ name, bits }) => [name, bits]),
    };
  }

  async #measure(all: Plan, name: string): Promise<LayerMeasures> {
    const { target: { weight } } = all.layers.find(({ target }) => target.name === name)!;
    const known = this.#measures.get(weight);
    if (known !== undefined) return known;
    const layer = all.layers.find(({ target }) => target.weight === weight)!;
    const [measures] = await measureWeights({ ...all, layers: [layer] }, this.#solver);
    this.#measures.set(weight, measures);
    return measures;
  }

  /** What does not depend on widths, made anew where anything else has changed. */
  #prepare({ activationBits, format }: JobOptions): Plan {
    const key = JSON.stringify([activationBits, format]);
    if (this.#all !== undefined && key === this.#key) return this.#all;
    const at = (bits: number) => makePlan(this.#model, { bits, activationBits, format });
    const all = at(LEAST);
    this.#range = [fileBytes(all), fileBytes(at(MOST))];
    this.#measures.clear();
    this.#key = key;
    return this.#all = all;
  }
}

/** An input in words. */
function inWords(spec: InputSpec): string {
  return `${spec.name} ${formatSpec(spec)} ${spec.type}`;
}
