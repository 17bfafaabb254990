/** Options of the library with values that its types allow and its documentation does not. */

import { chooseBits } from "../../src/allocate/choose.ts";
import { evaluate } from "../../src/evaluate/evaluate.ts";
import type { Model } from "../../src/onnx/model.ts";
import type { MixedBits } from "../../src/plan/bits.ts";
import type { Strategy } from "../../src/strategies/strategies.ts";
import type { PlanOptions, RangeMethod } from "../../src/plan/options.ts";
import type { RoundingMethod } from "../../src/round/methods.ts";
import { makePlan } from "../../src/plan/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import type { QuantizeOptions } from "../../src/quantize/options.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import { inlinePool } from "../../src/workers/pool.ts";
import type { BatchAxis } from "../../src/samples/batch_axis.ts";
import { openSamples } from "../../src/samples/open.ts";
import type { PreprocessOptions } from "../../src/samples/preprocess.ts";
import { sweep } from "../../src/quantize/sweep.ts";
import { ODD_TEXTS, type Random } from "./random.ts";

const ODD = [NaN, Infinity, -Infinity, -1, 0, 0.5, -0, 1e300];
const LARGE = [...ODD, 2 ** 31, 2 ** 32, 2 ** 53, 9, 1, 2];

/** Runs a job of the library on `model` and the samples at `path`. */
export async function optionsJob(random: Random, model: Model, path: string): Promise<void> {
  const made = makePlan(model, planOptions(random));
  const number = () => random.pick(LARGE), maybe = <T>(value: () => T) => some(random, value);
  using pool = inlinePool(await loadBackend("web"));
  const set = await openSamples(path, {
    inputs: made.graph.inputs,
    limit: maybe(number),
    seed: maybe(number),
    batchAxis: maybe(() => random.pick<BatchAxis>([number(), { x: number() }, { y: 0 }])),
    preprocess: maybe(() => preprocess(random)),
  });
  const batching = {
    batch: maybe(number),
    batchAxis: maybe(() => random.pick([0, number(), { x: number() }])),
  };
  const seed = maybe(number);
  await random.do<Promise<unknown>>([
    () => quantize(made, set.samples(), pool, { ...quantizeOptions(random), ...batching, seed }),
    () => quantize(made, set.samples(), pool, { ...quantizeOptions(random), ...batching, seed }),
    () => evaluate(made.model, model, set.samples(), pool, batching),
    () =>
      chooseBits(made, { source: set.samples(), pool }, {
        ...batching,
        seed,
        damping: maybe(number),
      }),
    () =>
      sweep(made, set.samples(), pool, {
        averages: maybe(() => [3, number()]),
        strategies: maybe(() => [random.pick(STRATEGIES)]),
        ...batching,
        seed,
        damping: maybe(number),
      }),
  ]);
}

function some<T>(random: Random, value: () => T): T | undefined {
  return random.chance(0.15) ? value() : undefined;
}

function planOptions(random: Random): PlanOptions {
  const number = () => random.chance(0.5) ? random.below(10) : random.pick(LARGE);
  const maybe = <T>(value: () => T) => some(random, value);
  return {
    bits: maybe(() =>
      random.do<PlanOptions["bits"]>([number, () => "ternary", () => mixed(random)])
    ),
    activationBits: maybe(() => random.pick([4, 8, "none", number()]) as 4),
    edgeBits: maybe(number),
    granularity: maybe(
      () => ({ kind: random.pick(["group", "tensor", "other"]), size: number() } as never),
    ),
    symmetric: maybe(() => true),
    overrides: maybe(() => [{ pattern: random.pick(["*", "one", ...ODD_TEXTS]), bits: number() }]),
    grid: maybe(() => random.pick(["uniform", "piecewise", "other" as "uniform"])),
    nested: maybe(() => random.pick([[8, 4], [], [number()], [8, number()], [number(), 2]])),
    format: maybe(() => random.pick(["qdq", "packed", "float", "matmulnbits", "other" as "qdq"])),
  };
}

const STRATEGIES = [
  "coding-length",
  "nuclear",
  "gradient",
  "hessian-trace",
  "measured",
  "?",
] as Strategy[];

function mixed(random: Random): MixedBits {
  const widths = random.pick([undefined, undefined, [2, 4], [], [4], [2, random.pick(LARGE)]]);
  if (random.chance(0.3)) return { kind: "clusters", widths };
  const value = random.chance(0.6) ? random.pick([3, 4, 2000, 0.01]) : random.pick(LARGE);
  return {
    kind: "budget",
    budget: random.pick([
      { kind: "average", bits: value },
      { kind: "size", bytes: value },
      { kind: "loss", error: value },
    ]),
    strategy: random.pick([undefined, ...STRATEGIES]),
    widths,
  };
}

function preprocess(random: Random): PreprocessOptions {
  const number = () => random.pick(LARGE), maybe = <T>(value: () => T) => some(random, value);
  return {
    preset: maybe(() => random.pick(["unit", "other" as "unit"])),
    mean: maybe(() => [number(), 0, 0]),
    std: maybe(() => random.pick([[0, 0, 0], [number(), 1, 1], [1]])),
    resize: maybe(number),
    crop: maybe(() => random.pick([number(), [number(), 8] as const])),
  };
}

function quantizeOptions(random: Random): QuantizeOptions {
  // Large counts of iterations and candidates are lawful, and work for years.
  const count = () => random.chance(0.5) ? 1 + random.below(9) : random.pick(ODD.slice(0, -1));
  const number = () => random.pick(LARGE), maybe = <T>(value: () => T) => some(random, value);
  const rounding = (): RoundingMethod =>
    random.pick<RoundingMethod>([
      { kind: "nearest" },
      { kind: "stochastic" },
      { kind: "attention", candidates: maybe(count), tau: maybe(number) },
      { kind: "adaround", iterations: maybe(count) ?? 3 },
      { kind: "attention:gradient", iterations: maybe(count) ?? 3, tau: maybe(number) },
      { kind: "other" as "nearest" },
    ]);
  const range = (): RangeMethod =>
    random.pick<RangeMethod>([
      { kind: "percentile", percentile: random.pick([...LARGE, 99, 50, 100]) },
      { kind: "mse" },
      { kind: "other" as "mse" },
    ]);
  return {
    rounding: random.chance(0.5) ? rounding() : { kind: "nearest" },
    range: maybe(range),
    floatTargetShift: maybe(() => false),
    biasCorrection: maybe(() => false),
    scaleRefit: maybe(() => false),
    damping: maybe(number),
    heldOut: maybe(number),
    reconstruction: maybe(() => ({
      kind: "blocks",
      iterations: random.chance(0.7) ? 3 : count(),
      timeBudget: maybe(() => random.pick([NaN, -1, 0, 0.1, 5])),
    })),
    started: maybe(() => random.pick([0, NaN, -1])),
  };
}
