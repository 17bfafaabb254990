/** How the last check counts differences, and what it says of them. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { join } from "node:path";
import { readModel } from "../src/onnx/file.ts";
import { makePlan } from "../src/plan/plan.ts";
import { driftWarning, layerWarnings, outputWarnings } from "../src/quantize/check_warnings.ts";
import { Difference, LayerDifferences, OutputDifferences } from "../src/quantize/differences.ts";
import { root } from "./helpers/command_line.ts";

const row = (...values: number[]) => Float32Array.from(values);

Deno.test("differences are relative to what is expected; what cannot be compared is counted", () => {
  const difference = new Difference();
  assertEquals(difference.relative, 0);
  assert(difference.add(row(3, 4), row(3, 5)));
  assertAlmostEquals(difference.relative, 1 / 25);
  assert(!difference.add(row(1), row(1, 2)));
  assert(!difference.add(row(1, 2), row(1, NaN)));
  assert(!difference.add(row(Infinity, 2), row(-Infinity, 2)));
  assert(difference.add(row(-Infinity, NaN, 5), row(-Infinity, NaN, 5)));
  const { lengths, broken, infinite } = difference;
  assertEquals([lengths, broken, infinite], [1, 2, 1]);
  assertAlmostEquals(difference.relative, 1 / 50);
  const fromNothing = new Difference();
  fromNothing.add(row(0), row(1));
  assertEquals(fromNothing.relative, Infinity);
});

Deno.test("an output's warnings tell whose fault it is", () => {
  const good = new OutputDifferences();
  good.add(row(1, 2), row(1, 2), row(1, 2));
  assertEquals(outputWarnings("y", good, 4), []);
  const cases: [float: Float32Array, file: Float32Array, said: RegExp][] = [
    [row(1), row(1, 2), /^Output "y" has another length .* for 1 of 4 held-out samples/],
    [row(NaN), row(1), /float model itself is not finite for 1 of 4/],
    [row(-Infinity, 1), row(-Infinity, 1), /same infinities/],
    [row(1), row(NaN), /is not finite for 1 of 4 held-out samples, where the float model's is/],
    [row(1, 1), row(1, 2), /The error of output "y" is 50 %, more than 10 %/],
  ];
  for (const [float, file, said] of cases) {
    const differences = new OutputDifferences();
    differences.add(float, file, file);
    const warnings = outputWarnings("y", differences, 4);
    assertEquals(warnings.length, 1, warnings.join());
    assert(said.test(warnings[0]), warnings[0]);
  }
  // A class that is another one is no error of a size.
  const classes = new OutputDifferences();
  classes.isFloat = false;
  classes.add(row(1), row(9), row(9));
  assertEquals(outputWarnings("y", classes, 4), []);
});

Deno.test("a drift is told with its layer, bad layers by name up to three", () => {
  assert(
    /output "a", "b", from layer conv on; leave that layer/.test(driftWarning(["a", "b"], "conv")),
  );
  assert(/behind the last layer; leave activations/.test(driftWarning(["a"], undefined)));
  const { layers } = makePlan(readModel(join(root, "examples/shapes/shapes.onnx")));
  const bad = layers.slice(0, 5).map((layer) => {
    const differences = new LayerDifferences(layer);
    differences.add(row(2), row(1), row(1.5));
    return differences;
  });
  assertEquals(bad[0].apart.relative, 0.25);
  assertEquals(layerWarnings([]), []);
  assertEquals(layerWarnings(bad.slice(0, 3)).length, 3);
  const [first, , , rest] = layerWarnings(bad);
  assert(first.startsWith(`${layers[0].target.name}: `) && /25 %.* 6\.3 %/.test(first), first);
  assert(/^2 further layers/.test(rest), rest);
});
