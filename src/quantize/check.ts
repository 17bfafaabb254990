/**
 * The last check: the written model is opened again and runs on samples that calibration never saw,
 * beside the float model and the simulation that calibration went by. What is wrong with it is said, with
 * the layer and the remedy; nothing that is found here takes the finished work away.
 *
 * @module
 */

import { type Batching, rowsOf, stackSamples } from "../forward/batching.ts";
import { partsOf, type PartSource, simulatedParts } from "../forward/open_part.ts";
import { asItIs, fitsSession, Relay, type Runner } from "../forward/relay.ts";
import type { Batch } from "../engine/spool.ts";
import { buildModel, buildPart, type Parts } from "../emit/build.ts";
import { nearestParts } from "../emit/nearest.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { Comparison } from "../evaluate/metrics.ts";
import { ancestors } from "../graph/extract.ts";
import { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import { typeNamed } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import type { Report } from "../report/report.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { Sample } from "../samples/sample.ts";

/** The relative squared error of an output above which the result is hardly of use: a tenth. */
export const MOST_OUTPUT_ERROR = 0.1;
/** The error of an output above which layers are looked at one by one. */
const SUSPICIOUS_ERROR = 0.02;
/**
 * How far the file may be from its simulation. Where activations are rounded, values near the middle of
 * two levels fall to either side, which adds up to as much as the error of that rounding itself.
 */
const FLOAT_NOISE = 1e-6, INTEGER_NOISE = 1e-4, NOISE_OF_ROUNDING = 3;
/** Runs that layers are looked at on, at most, and layers that a warning names. */
const LAYER_RUNS = 8, MOST_NAMED = 3;
/** How much worse than nearest rounding a layer must end to be named, and with what error of its own. */
const MUCH_WORSE = 2, LEAST_LAYER_ERROR = 1e-3;

/** What is checked. */
export interface CheckOptions {
  /** Samples that calibration never saw. */
  readonly heldOut: readonly Sample[];
  /** How samples become runs. */
  readonly batching: Batching;
  /** Stops the check. */
  readonly signal?: AbortSignal;
}

/** What came of it. */
export interface Checked {
  /** The figures; null where there were no samples, or the check failed. */
  readonly check: Report["check"];
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
    const known = error instanceof AttuneError;
    if (known && error.code === "aborted") throw error;
    const why = known ? error.message : (error as Error)?.message ?? String(error);
    return {
      check: null,
      warnings: [`The written model could not be checked: ${why}; compare it with the float model`],
    };
  }
}

class Check {
  readonly #plan: Plan;
  readonly #parts: Parts;
  readonly #model: Model;
  readonly #pool: EnginePool;
  readonly #options: CheckOptions;
  readonly #warnings: string[] = [];

  constructor(plan: Plan, parts: Parts, model: Model, pool: EnginePool, options: CheckOptions) {
    this.#plan = plan;
    this.#parts = parts;
    this.#model = model;
    this.#pool = pool;
    this.#options = options;
  }

  async run(): Promise<Checked> {
    const { heldOut, batching } = this.#options, { size = 1 } = batching;
    const plan = this.#plan, names = [...new Set(plan.graph.outputs)], [first] = names;
    if (heldOut.length < size) {
      // Whether it opens can be seen without samples.
      if (fitsSession(new Graph(this.#model))) {
        await this.#pool.clients[0].call("open", opening("check", this.#model));
        await this.#pool.close();
      }
      return { check: null, warnings: [] };
    }
    const runs = this.#runs([
      { ...asItIs(plan.model), outputs: names },
      {
        graph: plan.graph,
        whole: () => buildModel(plan, this.#parts, "float"),
        parts: simulatedParts(plan, this.#parts),
        outputs: names,
        options: { simulate: true },
      },
      { ...asItIs(this.#model), outputs: names },
    ]);
    const found = new Map(names.map((name) => [name, new OutputDifferences()]));
    const answers = new Comparison();
    let compared = 0;
    for await (const batches of runs) {
      for (const [name, differences] of found) {
        const values = batches.map((batch) => batch[name]);
        // Of sequences, maps and texts there is nothing to compare.
        if (!values.every((value) => value?.data !== undefined && value.type !== "string")) {
          continue;
        }
        differences.isFloat = values[0].type.startsWith("float");
        const rows = values.map((value) => rowsOf(batching, name, value, size));
        rows[0].forEach((float, i) => {
          const comparable = differences.add(float, rows[1][i], rows[2][i]);
          if (!comparable || name !== first) return;
          answers.add(float, rows[2][i]);
          compared++;
        });
      }
    }
    const other = [...found].filter(([name, differences]) =>
      this.#judge(name, differences, heldOut.length)
    );
    if (other.length > 0) await this.#locate(other.map(([name]) => name));
    const { toFloat, toSimulation } = found.get(first)!;
    const floats = [...found.values()].filter(({ isFloat }) => isFloat);
    const worst = Math.max(...floats.map((each) => each.toFloat.relative));
    if (worst > SUSPICIOUS_ERROR) await this.#judgeLayers();
    return {
      check: compared === 0 ? null : {
        mseToFloat: toFloat.relative,
        agreementToFloat: answers.result().agreement,
        mseToSimulation: toSimulation.relative,
        outputs: [...found].map(([name, each]) => ({
          name,
          mseToFloat: each.toFloat.relative,
          mseToSimulation: each.toSimulation.relative,
        })),
      },
      warnings: this.#warnings,
    };
  }

  /** What all of `runners` say, run by run. */
  async *#runs(runners: readonly Runner[], most = Infinity): AsyncGenerator<Batch[]> {
    const { heldOut, batching, signal } = this.#options, { size = 1 } = batching;
    const count = Math.min(most, Math.floor(heldOut.length / size));
    const batches = (function* () {
      for (let run = 0; run < count; run++) {
        checkAborted(signal);
        yield stackSamples(batching, heldOut.slice(run * size, (run + 1) * size));
      }
    })();
    if (runners.every(({ graph }) => fitsSession(graph))) {
      yield* this.#together(runners, batches);
      return;
    }
    const relay = new Relay(this.#pool, runners);
    await relay.clear();
    for (const batch of batches) await relay.load(batch);
    await relay.run({ signal });
    for (let run = 0; run < count; run++) yield await relay.outputs(run);
    await relay.clear();
  }

  /** The same of small models, which are all open in one engine. */
  async *#together(
    runners: readonly Runner[],
    batches: Iterable<Batch>,
  ): AsyncGenerator<Batch[]> {
    const [client] = this.#pool.clients;
    const keys = runners.map((_, i) => `check ${i}`);
    for (const [i, { whole, options }] of runners.entries()) {
      await client.call("open", opening(keys[i], whole(), options));
    }
    for (const batch of batches) {
      const answers: Batch[] = [];
      for (const key of keys) answers.push(await client.call("run", [key, batch]));
      yield answers;
    }
    await client.call("close", []);
  }

  /** Says what is wrong with the output `name`; whether the file is another model than the simulation. */
  #judge(name: string, found: OutputDifferences, samples: number): boolean {
    const { toFloat, toSimulation, simulation, ownBroken } = found, output = `Output "${name}"`;
    const of = (count: number) => `for ${count} of ${samples} held-out samples`;
    const warn = (wrong: boolean, sentence: string) => wrong && this.#warnings.push(sentence);
    const broken = toFloat.broken - ownBroken, error = percent(toFloat.relative);
    warn(
      toFloat.lengths > 0,
      `${output} has another length than the float model's ${
        of(toFloat.lengths)
      }, which were not ` +
        `compared: how long it is depends on the data; judge the file by what you make of it`,
    );
    warn(
      ownBroken > 0,
      `${output} of the float model itself is not finite ${
        of(ownBroken)
      }, which were not compared; ` +
        `check these samples`,
    );
    warn(
      toFloat.infinite > 0,
      `${output} holds the same infinities as the float model's ${
        of(toFloat.infinite)
      }, which were ` +
        `left out of the comparison`,
    );
    warn(
      broken > 0,
      `${output} is not finite ${
        of(broken)
      }, where the float model's is; leave the layers before it ` +
        `in float, or give them more bits`,
    );
    // Of numbers of classes or boxes, a difference has no size.
    if (!found.isFloat) return false;
    warn(
      toFloat.relative > MOST_OUTPUT_ERROR,
      `The error of output "${name}" is ${error}, more than ${
        percent(MOST_OUTPUT_ERROR)
      }: give more ` +
        `bits, float activations or more samples, or learn blocks`,
    );
    return toSimulation.relative > this.#noise(simulation.relative);
  }

  /** How far the file may be from its simulation, whose own error is `error`. */
  #noise(error: number): number {
    const integers = this.#plan.activations.own.length > 0;
    return integers ? INTEGER_NOISE + NOISE_OF_ROUNDING * error : FLOAT_NOISE * (1 + error);
  }

  /** Names the layer from which on the file is another model than its simulation. */
  async #locate(outputs: readonly string[]): Promise<void> {
    const plan = this.#plan, parts = this.#parts;
    const file: PartSource = (cut) => buildPart(plan, parts, plan.options.format, cut);
    const simulated = simulatedParts(plan, parts);
    const found = await this.#compareLayers([simulated, true], [file, false]);
    const first = found.find(({ own, apart }) => apart.relative > this.#noise(own.relative));
    const where = first
      ? `from layer ${first.layer.target.name} on; leave that layer in float, or all activations`
      : `behind the last layer; leave activations in float`;
    this.#warnings.push(
      `The written model differs from the simulation that calibration went by, in output ` +
        `${outputs.map((name) => `"${name}"`).join(", ")}, ${where}`,
    );
  }

  /** Names the layers that are further from the float model than all of them rounded to nearest. */
  async #judgeLayers(): Promise<void> {
    const plan = this.#plan, parts = this.#parts, { nodes } = plan.graph;
    const nearest: PartSource = (cut) => {
      // Of the layers of a part, so that levels of the whole model are there once at most.
      const own = ancestors(nodes, cut.outputs, new Set(cut.inputs.keys()));
      return buildPart(plan, nearestParts(plan, parts, new Set(own)), "float", cut);
    };
    const found = await this.#compareLayers([simulatedParts(plan, parts), true], [nearest, true]);
    const worse = found.filter(({ own, other }) =>
      own.relative > LEAST_LAYER_ERROR && own.relative > MUCH_WORSE * other.relative
    );
    for (const { layer: { target }, own, other } of worse.slice(0, MOST_NAMED)) {
      this.#warnings.push(
        `${target.name}: the error of its output on held-out samples is ${
          percent(own.relative)
        }, ` +
          `that of nearest rounding ${
            percent(other.relative)
          }; give more samples, or round without ` +
          `the float-target shift`,
      );
    }
    if (worse.length <= MOST_NAMED) return;
    this.#warnings.push(
      `${worse.length - MOST_NAMED} further layers, too, end worse than nearest rounding`,
    );
  }

  /** How far the output of each layer is from the float model's in two forms of it, and from one to the other. */
  async #compareLayers(...forms: readonly (readonly [source: PartSource, simulate: boolean])[]) {
    const { graph, model, layers } = this.#plan;
    const inputs = new Map(graph.inputs.map(({ name, type }) => [name, typeNamed(type)]));
    const outputs = layers.map(({ target }) => target.output);
    const runners = [[partsOf(model), false] as const, ...forms].map(([parts, simulate]) => ({
      graph,
      whole: () => parts({ inputs, outputs }),
      parts,
      outputs,
      options: { simulate },
    }));
    const found = layers.map((layer) => ({
      layer,
      own: new Difference(),
      other: new Difference(),
      apart: new Difference(),
    }));
    for await (const batches of this.#runs(runners, LAYER_RUNS)) {
      for (const { layer, own, other, apart } of found) {
        const [float, one, two] = batches.map((batch) =>
          batch[layer.target.output].data as Float32Array
        );
        own.add(float, one);
        other.add(float, two);
        apart.add(one, two);
      }
    }
    return found;
  }
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(2)} %`;
}

/** Squared differences between values that should be the same. */
class Difference {
  #error = 0;
  #power = 0;
  /** Pairs of different lengths, which were left out. */
  lengths = 0;
  /** Pairs of which one alone is not finite somewhere, which were left out. */
  broken = 0;
  /** Pairs that are both not finite somewhere, and the same there. */
  infinite = 0;

  /** Adds a pair; false where it cannot be compared. */
  add(wanted: Float32Array, found: Float32Array): boolean {
    if (wanted.length !== found.length) {
      this.lengths++;
      return false;
    }
    let error = 0, power = 0, infinite = 0;
    for (let i = 0; i < wanted.length; i++) {
      // Where both are the same infinity, or no number, neither is wrong.
      if (Object.is(wanted[i], found[i]) && !Number.isFinite(wanted[i])) {
        infinite = 1;
        continue;
      }
      error += (found[i] - wanted[i]) ** 2;
      power += wanted[i] ** 2;
    }
    if (!Number.isFinite(error)) {
      this.broken++;
      return false;
    }
    this.#error += error;
    this.#power += power;
    this.infinite += infinite;
    return true;
  }

  /** Σ (found − wanted)² / Σ wanted². */
  get relative(): number {
    return this.#power > 0 ? this.#error / this.#power : this.#error > 0 ? Infinity : 0;
  }
}

/** How far apart the float model, the simulation and the file are in one output. */
class OutputDifferences {
  /** The file from the float model. */
  readonly toFloat = new Difference();
  /** The file from the simulation. */
  readonly toSimulation = new Difference();
  /** The simulation from the float model. */
  readonly simulation = new Difference();
  /** Samples whose output in the float model is not finite. */
  ownBroken = 0;
  /** Whether the output is of floats. */
  isFloat = true;

  /** Adds what the three say to a sample; whether file and float model can be compared. */
  add(float: Float32Array, simulated: Float32Array, file: Float32Array): boolean {
    const comparable = this.toFloat.add(float, file);
    if (!comparable && float.length === file.length && !float.every(Number.isFinite)) {
      this.ownBroken++;
    }
    this.toSimulation.add(simulated, file);
    this.simulation.add(float, simulated);
    return comparable;
  }
}
