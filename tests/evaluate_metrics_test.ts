import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertNotEquals } from "std/assert/not_equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import type { Interval } from "../src/evaluate/interval.ts";
import { Comparison, type Evaluation } from "../src/evaluate/metrics.ts";

type Pair = [reference: number[], candidate: number[], label?: number];

function compare(pairs: Pair[], seed?: number): Evaluation {
  const comparison = new Comparison();
  for (const [reference, candidate, label] of pairs) {
    comparison.add(Float32Array.from(reference), Float32Array.from(candidate), label);
  }
  return comparison.result({ seed });
}

function assertBetween(value: number, [low, high]: Interval): void {
  assertEquals(value >= low && value <= high, true, `${value} is not in ${low} … ${high}`);
}

Deno.test("accuracy, agreement and error of a hand-made set", () => {
  const result = compare([
    // Both right; then the model wrong, its answer second; then both wrong, right among five.
    [[4, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0], 0],
    [[4, 2, 0, 0, 0, 0], [2, 4, 0, 0, 0, 0], 0],
    [[9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], 4],
    // Right among six only.
    [[9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], 5],
  ]);
  assertEquals(result.samples, 4);
  assertEquals([result.top1, result.top5], [25, 75]);
  assertEquals(result.reference, { top1: 50, top5: 75 });
  assertEquals(result.agreement, 75);
  // Squared differences: 1 + (4 + 4); squares of the reference: 16 + 20 + 271 + 271.
  assertAlmostEquals(result.mse, 9 / 578, 1e-12);
});

Deno.test("of equal outputs the first is the answer", () => {
  const tie = [1, 1, 0];
  assertEquals(compare([[tie, [1, 0, 0], 0]]).agreement, 100);
  assertEquals(compare([[tie, [0, 1, 0], 0]]).agreement, 0);
  assertEquals(compare([[tie, tie, 0]]).top1, 100);
  assertEquals(compare([[tie, tie, 1]]).top1, 0);
  // Six equal outputs: the last is not among the first five.
  const flat = [0, 0, 0, 0, 0, 0];
  assertEquals(compare([[flat, flat, 4]]).top5, 100);
  assertEquals(compare([[flat, flat, 5]]).top5, 0);
});

Deno.test("divergence of logits, of probabilities, and of probabilities that were rounded", () => {
  const expected = 0.25 * Math.log(0.25 / 0.5) + 0.75 * Math.log(0.75 / 0.5);
  const kl = (reference: number[], candidate: number[]) => compare([[reference, candidate]]).kl;
  assertAlmostEquals(kl([0, Math.log(3)], [7, 7]), expected, 1e-6);
  assertAlmostEquals(kl([0.25, 0.75], [0.5, 0.5]), expected, 1e-6);
  // Quantized probabilities need not add up: they are scaled, not taken for logits.
  assertAlmostEquals(kl([0.25, 0.75], [0.25, 0.25]), expected, 1e-6);
  // A model that rules out what happens is finite, and far off.
  assertAlmostEquals(kl([0, 1], [1, 0]), -Math.log(1e-12), 1e-3);
  // Large logits neither overflow nor vanish.
  assertAlmostEquals(kl([1000, 0], [0, 1000]), 1000, 1e-9);
  // A shift of all logits changes no probability.
  assertAlmostEquals(kl([1, 2, 3], [101, 102, 103]), 0, 1e-6);
});

Deno.test("a model compared with itself has no error and intervals of no width", () => {
  const pairs = Array.from({ length: 20 }, (_, i): Pair => {
    const output = [i % 3, 1.5, -i];
    return [output, output, i % 2];
  });
  const { agreement, mse, kl, interval: { agreement: share, ...paired }, top1, reference } =
    compare(pairs);
  assertEquals([agreement, mse, kl], [100, 0, 0]);
  assertEquals(top1, reference.top1);
  // Paired: whatever samples are drawn, both are right on the same ones.
  assertEquals(paired, { top1: [0, 0], top5: [0, 0], mse: [0, 0], kl: [0, 0] });
  // All of 20 may still be less of all there are.
  assertEquals([Math.round(share[0]), share[1]], [84, 100]);
});

Deno.test("intervals hold the figure and have the width that the binomial gives", () => {
  // 400 samples, 20 % of which the model answers otherwise and wrongly.
  const pairs = Array.from(
    { length: 400 },
    (_, i): Pair => [[2, 1], i % 5 === 0 ? [1, 2] : [2.1, 1], 0],
  );
  const { top1, agreement, mse, kl, interval } = compare(pairs);
  assertEquals([top1, agreement], [80, 80]);
  assertBetween(mse, interval.mse);
  assertBetween(kl, interval.kl);
  // Standard error √(0.2 · 0.8 / 400) = 2 points; 1.96 of them either way.
  assertAlmostEquals(interval.agreement[0], 80 - 3.92, 0.6);
  assertAlmostEquals(interval.agreement[1], 80 + 3.92, 0.6);
  assertAlmostEquals(interval.top1![0], -20 - 3.92, 0.6);
  assertAlmostEquals(interval.top1![1], -20 + 3.92, 0.6);
});

Deno.test("the seed decides the intervals, and nothing else", () => {
  const pairs = Array.from(
    { length: 50 },
    (
      _,
      i,
    ): Pair => [[Math.sin(i), Math.cos(i)], [Math.sin(i) + 0.1 * Math.cos(7 * i), Math.cos(i)]],
  );
  const [first, again, other] = [compare(pairs, 1), compare(pairs, 1), compare(pairs, 2)];
  assertEquals(first, again);
  assertNotEquals(first.interval, other.interval);
  assertEquals({ ...first, interval: null }, { ...other, interval: null });
});

Deno.test("without a label for every sample there is no accuracy", () => {
  for (const labels of [[undefined, undefined], [0, undefined]]) {
    const { top1, top5, reference, interval, agreement } = compare(
      labels.map((label): Pair => [[2, 1], [2, 1], label]),
    );
    assertEquals([top1, top5, reference.top1, reference.top5], [null, null, null, null]);
    assertEquals([interval.top1, interval.top5], [null, null]);
    assertEquals(agreement, 100);
  }
});

Deno.test("what cannot be compared is named", () => {
  const fails = (pairs: Pair[], message: string) =>
    assertEquals(assertThrows(() => compare(pairs), AttuneError, message).code, "bad-data");
  const good: Pair = [[1, 2], [1, 2], 0];
  fails([good, [[1, 2], [1, NaN]]], "sample 1: output 1 of the model is NaN");
  fails([[[1, -Infinity], [1, 0]]], "sample 0: output 1 of the reference is -Infinity");
  fails([[[1, 0], [1, Infinity]]], "sample 0: output 1 of the model is Infinity");
  fails([[[1, 2, 3], [1, 2]]], "the reference gives 3 values and the model 2");
  fails([[[1, 2], [1, 2, 3]]], "the reference gives 2 values and the model 3");
  for (const label of [-1, 2, 0.5, NaN]) {
    fails([[[1, 2], [1, 2], label]], `Cannot use label ${label} of sample 0`);
  }
  fails([], "0 samples");
});

Deno.test("what both rule out is no difference", () => {
  const { mse, agreement, kl } = compare([[[1, -Infinity, 2], [1, -Infinity, 3]]]);
  assertEquals([mse, agreement], [0.2, 100]);
  assertAlmostEquals(kl, compare([[[1, 2], [1, 3]]]).kl, 1e-12);
});

Deno.test("a silent reference has no relative error unless the model speaks", () => {
  assertEquals(compare([[[0, 0], [0, 0]]]).mse, 0);
  assertEquals(compare([[[0, 0], [0, 1]]]).mse, Infinity);
});
