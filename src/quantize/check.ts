/**
 * The last check: the written model is opened again and runs on samples that calibration never saw,
 * beside the float model and the simulation that calibration went by. What is wrong with it is
 * said, with the layer and the remedy; nothing that shows here takes the finished work away.
 *
 * @module
 */

import { buildModel, buildPart, type Parts } from "../emit/build.ts";
import { nearestParts } from "../emit/nearest.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { Comparison, type Evaluation } from "../evaluate/metrics.ts";
import { kindOf, OutputComparison, type OutputEvaluation } from "../evaluate/output_comparison.ts";
import { openModels, rowsOfRun, type RunOutputs } from "../evaluate/outputs.ts";
import type { Batching } from "../forward/batching.ts";
import { partsOf, type PartSource, simulatedParts } from "../forward/open_part.ts";
import { asItIs, fitsSession, type Runner } from "../forward/relay.ts";
import { ancestors } from "../graph/extract.ts";
import { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import { typeNamed } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import type { Report } from "../report/report.ts";
import { opening } from "../runtime/opening.ts";
import type { Sample } from "../samples/sample.ts";
import type { EnginePool } from "../workers/pool.ts";
import {
  agreementWarnings,
  driftWarning,
  layerWarnings,
  MOST_OUTPUT_ERROR,
  outputWarnings,
} from "./check_warnings.ts";
import { HeldOutSamples } from "./check_samples.ts";
import { LayerDifferences, OutputDifferences } from "./differences.ts";

/** The error of an output above which layers are looked at one by one. */
const SUSPICIOUS_ERROR = 0.02;
/**
 * How far the file may be from its simulation. Where activations are rounded, values near the
 * middle of two levels fall to either side, which adds up to as much as the error of that rounding
 * itself.
 */
const FLOAT_NOISE = 1e-6, INTEGER_NOISE = 1e-4, NOISE_OF_ROUNDING = 3;
/** Runs that layers are looked at on, at most. */
const LAYER_RUNS = 8;
/** How much worse than nearest rounding a layer must end to be named, and with what error. */
const MUCH_WORSE = 2, LEAST_LAYER_ERROR = 1e-3;

/** What is checked. */
export interface CheckOptions {
  /** Samples that calibration never saw. */
  readonly heldOut: readonly Sample[];
  /** How samples become runs. */
  readonly batching: Batching;
  /** Whether each weight has its nearest level, which nearest rounding cannot do better than. */
  readonly isNearest: boolean;
  /** Stops the check. */
  readonly signal?: AbortSignal;
}

/** What came of it. */
export interface Checked {
  /** The figures; null where there were no samples, or the check failed. */
  readonly check: Report["check"];
  /** Samples one by one; undefined as the figures are null. */
  readonly heldOut?: Report["heldOut"];
  /** What is wrong, and what to do, a sentence each. */
  readonly warnings: readonly string[];
}

/** Checks `model`, which `parts` became, on the engines of `pool`. */
export async function checkResult(
  plan: Plan,
  parts: Parts,
  model: Model,
  pool: EnginePool,
  options: CheckOptions,
): Promise<Checked> {
  try {
    return await new Check(plan, parts, model, pool, options).run();
  } catch (error) {
    checkAborted(options.signal);
    const isKnown = error instanceof AttuneError;
    if (isKnown && error.code === "aborted") throw error;
    const why = isKnown ? error.message : (error as Error)?.message ?? String(error);
    return {
      check: null,
      warnings: [`The written model could not be checked: ${why}; compare it with the float model`],
    };
  }
}

/** The outputs of the file beside those it should have. */
interface ComparedOutputs {
  /** By output. */
  readonly differences: ReadonlyMap<string, OutputDifferences>;
  /** By output, the file beside the float model by what suits it. */
  readonly evaluations: ReadonlyMap<string, OutputEvaluation | undefined>;
  /** The first output beside the float model's; undefined without samples to compare. */
  readonly first: Evaluation | undefined;
}

class Check {
  readonly #plan: Plan;
  readonly #parts: Parts;
  readonly #model: Model;
  readonly #pool: EnginePool;
  readonly #options: CheckOptions;
  readonly #samples = new HeldOutSamples();

  constructor(plan: Plan, parts: Parts, model: Model, pool: EnginePool, options: CheckOptions) {
    this.#plan = plan;
    this.#parts = parts;
    this.#model = model;
    this.#pool = pool;
    this.#options = options;
  }

  async run(): Promise<Checked> {
    const { heldOut } = this.#options;
    if (heldOut.length === 0) {
      await this.#open();
      return { check: null, warnings: [] };
    }
    const { differences, evaluations, first } = await this.#compareOutputs();
    const outputs = [...differences];
    const warnings = outputs.flatMap(([name, each]) => outputWarnings(name, each, heldOut.length));
    const drifted = outputs.filter(([, { isFloat, toSimulation, simulation }]) =>
      isFloat && toSimulation.relative > this.#noise(simulation.relative)
    ).map(([name]) => name);
    if (drifted.length > 0) warnings.push(driftWarning(drifted, await this.#firstDrifted()));
    const floats = outputs.filter(([, { isFloat }]) => isFloat);
    const worst = Math.max(...floats.map(([, { toFloat }]) => toFloat.relative));
    // Where levels are the nearest, only biases or scales can be what is wrong.
    const suspicious = this.#options.isNearest ? MOST_OUTPUT_ERROR : SUSPICIOUS_ERROR;
    if (worst > suspicious) warnings.push(...layerWarnings(await this.#badLayers()));
    const errors = outputs.map(([name, { toFloat, toSimulation }]) => ({
      name,
      mseToFloat: toFloat.relative,
      mseToSimulation: toSimulation.relative,
      evaluation: evaluations.get(name),
    }));
    if (first === undefined) return { check: null, warnings };
    const [{ mseToFloat, mseToSimulation, evaluation }] = errors;
    warnings.push(...agreementWarnings(evaluation));
    const { agreement: agreementToFloat, interval: { mse, agreement } } = first;
    const interval = { mseToFloat: mse, agreementToFloat: agreement };
    return {
      heldOut: this.#samples.report(),
      check: { mseToFloat, agreementToFloat, mseToSimulation, interval, outputs: errors },
      warnings,
    };
  }

  /** Opens the file: whether that can be done shows without samples. */
  async #open(): Promise<void> {
    if (!fitsSession(new Graph(this.#model))) return;
    await this.#pool.clients[0].call("open", opening("check", this.#model));
    await this.#pool.close();
  }

  /** Runs the float model, the simulation and the file. */
  async #compareOutputs(): Promise<ComparedOutputs> {
    const plan = this.#plan, { batching } = this.#options;
    const names = [...new Set(plan.graph.outputs)];
    const simulation: Runner = {
      graph: plan.graph,
      whole: () => buildModel(plan, this.#parts, "float"),
      parts: simulatedParts(plan, this.#parts),
      outputs: names,
      options: { simulate: true },
    };
    const runs = this.#runs([
      { ...asItIs(plan.model), outputs: names },
      simulation,
      { ...asItIs(this.#model), outputs: names },
    ]);
    const differences = new Map(names.map((name) => [name, new OutputDifferences()]));
    const answers = new Comparison(), figures = new Map<string, OutputComparison>();
    let compared = 0;
    for await (const run of runs) {
      for (const [name, each] of differences) {
        const values = run.outputs.map((outputs) => outputs[name]);
        // Of sequences, maps and texts there is nothing to compare.
        if (!values.every((value) => value?.data !== undefined && value.type !== "string")) {
          continue;
        }
        each.isFloat = values[0].type.startsWith("float");
        const [float, simulated, file] = values.map((value) =>
          rowsOfRun(batching, run, name, value)
        );
        const kind = kindOf(values[0].type, values[0].dims, float[0].length);
        const output = figures.get(name) ?? new OutputComparison(name, kind);
        figures.set(name, output);
        float.forEach((row, i) => {
          const isComparable = each.add(row, simulated[i], file[i]);
          output.add(row, file[i]);
          if (!isComparable || name !== names[0]) return;
          answers.add(row, file[i]);
          this.#samples.add(run.samples[i], row, file[i]);
          compared++;
        });
      }
    }
    const evaluations = new Map([...figures].map(([name, output]) => [name, output.result()]));
    return { differences, evaluations, first: compared === 0 ? undefined : answers.result() };
  }

  /** What all of `runners` compute of the held-out samples, run by run, in the first engine. */
  async *#runs(runners: readonly Runner[], most = Infinity): AsyncGenerator<RunOutputs> {
    const { heldOut, batching, signal } = this.#options, { size = 1 } = batching;
    const models = await openModels(this.#pool, runners, this.#pool.clients.slice(0, 1));
    yield* models.outputsOf(heldOut.slice(0, most * size), { batching, signal });
  }

  /** How far the file may be from its simulation, whose error is `error`. */
  #noise(error: number): number {
    const integers = this.#plan.activations.ranged.length > 0;
    return integers ? INTEGER_NOISE + NOISE_OF_ROUNDING * error : FLOAT_NOISE * (1 + error);
  }

  /** The name of the layer from which on the file is another model than its simulation. */
  async #firstDrifted(): Promise<string | undefined> {
    const plan = this.#plan;
    const file: PartSource = (cut) => buildPart(plan, this.#parts, plan.options.format, cut);
    const layers = await this.#compareLayers(file, { simulate: false });
    return layers.find(({ simulation, apart }) => apart.relative > this.#noise(simulation.relative))
      ?.layer.target.name;
  }

  /** The layers that are much further from the float model than all of them rounded to nearest. */
  async #badLayers(): Promise<LayerDifferences[]> {
    const plan = this.#plan, { nodes } = plan.graph;
    const nearest: PartSource = (cut) => {
      // Of the layers of a part, so that levels of the whole model are there once at most.
      const inside = ancestors(nodes, cut.outputs, new Set(cut.inputs.keys()));
      return buildPart(plan, nearestParts(plan, this.#parts, new Set(inside)), "float", cut);
    };
    const layers = await this.#compareLayers(nearest, { simulate: true });
    return layers.filter(({ simulation, other }) =>
      simulation.relative > LEAST_LAYER_ERROR &&
      simulation.relative > MUCH_WORSE * other.relative
    );
  }

  /** The output of each layer in the float model, the simulation and another form of it. */
  async #compareLayers(
    other: PartSource,
    { simulate }: { readonly simulate: boolean },
  ): Promise<LayerDifferences[]> {
    const plan = this.#plan, { graph, model } = plan;
    const inputs = new Map(graph.inputs.map(({ name, type }) => [name, typeNamed(type)]));
    const outputs = plan.layers.map(({ target }) => target.output);
    const runner = (parts: PartSource, simulate: boolean): Runner => ({
      graph,
      whole: () => parts({ inputs, outputs }),
      parts,
      outputs,
      options: { simulate },
    });
    const runs = this.#runs([
      runner(partsOf(model), false),
      runner(simulatedParts(plan, this.#parts), true),
      runner(other, simulate),
    ], LAYER_RUNS);
    const layers = plan.layers.map((layer) => new LayerDifferences(layer));
    for await (const run of runs) {
      for (const each of layers) {
        const name = each.layer.target.output;
        const [float, simulated, values] = run.outputs.map((batch) =>
          batch[name].data as Float32Array
        );
        each.add(float, simulated, values);
      }
    }
    return layers;
  }
}
