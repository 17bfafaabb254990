/**
 * `attune inspect`: the layers of a model, and what would become of them.
 *
 * @module
 */

import { type Block, cutBlocks } from "../blocks/partition.ts";
import { BATCH } from "../blocks/options.ts";
import { planBlocks } from "../blocks/reconstruct.ts";
import { profile } from "../forward/batches.ts";
import type { Batch } from "../engine/spool.ts";
import { AttuneError } from "../errors.ts";
import { readModel } from "../onnx/file.ts";
import { opsetOf } from "../onnx/model.ts";
import { sizeOf, typeNamed, zerosOf } from "../onnx/tensor.ts";
import { measureLayers } from "../allocate/choose.ts";
import type { LayerMeasures } from "../allocate/layer_measures.ts";
import { makePlan, type Plan } from "../plan/plan.ts";
import { loadBackend } from "../runtime/backends.ts";
import { inlinePool } from "../workers/pool.ts";
import { type Command, type Context, flagsIn, modelPath, type Parsed } from "./command.ts";
import { describeBlocks, describePlan } from "./describe.ts";
import { bitsOfLayers, describeBits } from "./inspect_bits.ts";
import { createProgress } from "./progress.ts";
import { batchingOf, DATA_FLAGS, poolOf, RUN_FLAGS, samplesOf } from "./shared.ts";

/** The command. */
export const inspectCommand: Command = {
  name: "inspect",
  summary: "List the layers of a model with the bits they would get, and what stays in float",
  usage: "<model.onnx>",
  examples: [
    ["The layers' names, for --override", "attune inspect model.onnx"],
    ["What each layer means for the outputs", "attune inspect model.onnx --data ./images"],
  ],
  common: ["data", "preprocess", "limit", "json"],
  flags: {
    ...DATA_FLAGS,
    ...flagsIn("Output", { json: { help: "print the list as JSON to stdout" } }),
    ...flagsIn("Running", {
      seed: { value: "N", help: "decides which positions of samples are looked at [0]" },
    }),
    ...RUN_FLAGS,
  },
  async run(parsed, context) {
    const model = readModel(modelPath(inspectCommand, parsed));
    const plan = makePlan(model), blocks = await scalesPerRow(plan);
    const bits = bitsOfLayers(plan, await measured(plan, parsed, context));
    if (parsed.on("json")) {
      context.print(JSON.stringify({
        model: model.name,
        opset: opsetOf(model),
        inputs: plan.graph.inputs,
        outputs: plan.graph.outputs,
        layers: plan.layers.map(({ target, bits, bytesBefore, bytesAfter, note }) => ({
          name: target.name,
          op: target.op,
          weight: target.weight,
          shape: target.shape,
          groups: target.groups,
          parameters: target.groups * target.rows * target.depth,
          bits,
          bytesBefore,
          bytesAfter,
          note,
        })),
        blocks: blocks.map(({ steps, inputs, outputs }) => ({
          layers: steps.flat().map(({ target }) => target.name),
          inputs,
          outputs,
        })),
        skipped: plan.skipped,
        bits,
      }));
    } else {
      const parts = [describePlan(plan), describeBlocks(blocks), describeBits(bits)];
      context.print(parts.filter(Boolean).join("\n\n"));
    }
  },
};

/** The blocks as they would be learned: where they are cut depends on the sizes of tensors. */
async function scalesPerRow(plan: Plan): Promise<Block[]> {
  const zeros = zerosFor(plan);
  if (zeros === undefined) return cutBlocks(plan);
  using pool = inlinePool(await loadBackend("web"));
  try {
    const [{ dims: [length] }] = Object.values(zeros), declared = plan.graph.inputs[0].dims[0];
    const fixed = typeof declared === "number" ? length : undefined;
    return planBlocks(plan, await profile(plan, zeros, pool), BATCH, fixed).blocks;
  } catch (error) {
    // Some models take no zeros; what they consist of can be listed all the same.
    if (!(error instanceof AttuneError)) throw error;
    return cutBlocks(plan);
  }
}

/** A batch of zeros for the inputs of `plan`, one sample where the model leaves it open. */
function zerosFor({ graph }: Plan): Batch | undefined {
  const batch: Batch = {};
  for (const { name, type, dims } of graph.inputs) {
    const sizes = dims.map((size, axis) => typeof size === "number" ? size : axis === 0 ? 1 : NaN);
    if (sizes.some(Number.isNaN)) return undefined;
    const data = zerosOf(typeNamed(type), sizeOf(sizes));
    if (data === undefined) return undefined;
    batch[name] = { type, dims: sizes, data };
  }
  return batch;
}

/** What is known of the layers of `plan`: by samples where some are given. */
async function measured(
  plan: Plan,
  parsed: Parsed,
  context: Context,
): Promise<LayerMeasures[]> {
  if (parsed.text("data") === undefined) return await measureLayers(plan);
  const samples = await samplesOf(parsed, plan.graph.inputs, context, { what: "samples" });
  using pool = await poolOf(parsed, context);
  using progress = createProgress();
  const measures = await measureLayers(plan, { source: samples.samples(), pool }, {
    ...batchingOf(parsed),
    seed: parsed.number("seed"),
    gradients: "if possible",
    signal: context.signal,
    onProgress: progress.update,
  });
  progress.finish();
  return measures;
}
