import { assert } from "std/assert/assert.js";
import { existsSync } from "node:fs";
import { evaluate, openSamples, plan, quantize, readModel, startPool } from "../mod.ts";

const shared = new URL("../../shared/", import.meta.url).pathname;
const ignore = !existsSync(shared);
if (ignore) console.log("skipped: the tests on real models need ../shared");

/** Quantizes on 64 samples and compares on 300 others. */
async function lossOf(name: string, data: string, options: Parameters<typeof plan>[1]) {
  const model = readModel(`${shared}models/${name}.onnx`);
  const made = plan(model, options);
  const open = (set: string, limit: number) =>
    openSamples(`${shared}data/${data}/${set}`, {
      inputs: made.graph.inputs,
      preprocess: { preset: "imagenet", resize: "none" },
      limit,
    });
  using pool = await startPool();
  const calib = await open("calib", 64), val = await open("val", 300);
  const { model: small, report } = await quantize(made, calib.samples(), pool);
  const evaluation = await evaluate(small, model, val.samples(), pool);
  return { report, evaluation, drop: evaluation.reference.top1! - evaluation.top1! };
}

Deno.test({
  name: "a raw PyTorch export of ResNet20 keeps its accuracy with 3-bit weights",
  ignore,
  async fn() {
    const { report, evaluation, drop } = await lossOf("resnet20_cifar10", "cifar10", {
      bits: 3,
      activationBits: "none",
    });
    // Nearest rounding loses 27 points on the whole set; 300 images are good to two.
    assert(drop < 3, `lost ${drop} points`);
    assert(evaluation.agreement > 90, `agrees in ${evaluation.agreement} %`);
    assert(report.check!.mseToSimulation < 1e-8, "the file is not what was simulated");
  },
});

Deno.test({
  name: "all layers of ResNet20 end with less error than nearest rounding, activations included",
  ignore,
  async fn() {
    const { report, drop } = await lossOf("resnet20_cifar10", "cifar10", { bits: 4 });
    assert(drop < 3, `lost ${drop} points`);
    for (const { name, error } of report.layers) {
      assert(error.final <= error.nearest, `${name} ends worse than nearest rounding`);
    }
  },
});
