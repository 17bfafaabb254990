import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { existsSync, statSync } from "node:fs";
import { openSamples, plan, type PlanOptions, quantize, readModel } from "../mod.ts";
import { AttuneError } from "../src/errors.ts";
import { serializeModel } from "../src/onnx/model.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";

const cases = new URL("../../shared/cases/", import.meta.url).pathname;
const ignore = !existsSync(cases);
if (ignore) console.log("skipped: the tests on models that broke once need ../shared");

/** What is to come of a file: its layers, what stays in float, and the error that is allowed. */
interface Right {
  /** Names of the layers. */
  readonly layers: readonly string[];
  /** Weights that stay in float. */
  readonly floats?: readonly string[];
  /** Σ (q − f)² / Σ f² on held-out samples at 8 bits, at most. Default: 0.01. */
  readonly error?: number;
  /** The calibration data. Default: the file's name with .npy. */
  readonly data?: string;
  /** Options besides 8 bits. */
  readonly options?: PlanOptions;
}

const RIGHT: Record<string, Right> = {
  "weight_cast_f16": { layers: ["m1", "m2"] },
  "tied_embedding": { layers: ["m1", "lm_head"] },
  "local_function": { layers: ["l1/t", "l2/t", "mm"] },
  "lstm_einsum": { layers: ["out"], floats: ["E", "LW", "LR", "EW"] },
  "sequence_glu": { layers: ["m1", "m2"] },
  "scan_captured": { layers: ["proj", "out"], floats: ["R"] },
  "subgraph_external/m": {
    layers: ["m0", "m1"],
    floats: ["eW", "tW"],
    error: 0.1,
    data: "subgraph_external.npy",
  },
  "siamese_bn": { layers: ["ca", "cb", "cc"], data: "siamese_bn.npz" },
  "bert_dropout_training": {
    layers: [],
    error: 0.00084,
    data: "bert.calib.npz",
    options: { bits: 4, activationBits: "none", format: "packed" },
  },
};

for (const [name, right] of Object.entries(RIGHT)) {
  Deno.test({
    name: `a model that broke once: ${name}`,
    ignore,
    async fn() {
      const path = `${cases}${name}.onnx`;
      const made = plan(readModel(path), { bits: 8, ...right.options });
      if (right.layers.length > 0) {
        assertEquals(made.layers.map(({ target }) => target.name), right.layers);
        assertEquals(made.skipped.flatMap(({ weight }) => weight ?? []), right.floats ?? []);
      }
      const samples = await openSamples(`${cases}${right.data ?? `${name}.npy`}`, {
        inputs: made.graph.inputs,
      });
      using pool = inlinePool(await loadBackend("web"));
      const { report } = await quantize(made, samples.samples(), pool);
      const { mseToFloat } = report.check!;
      assert(mseToFloat <= (right.error ?? 0.01), `error ${mseToFloat}`);
      if (name === "tied_embedding" || name === "siamese_bn") {
        const { model } = await quantize(made, samples.samples(), pool);
        assert(serializeModel(model).length < statSync(path).size);
      }
    },
  });
}

Deno.test({
  name: "models that broke once: damaged ones are refused when planned",
  ignore,
  fn() {
    const words = {
      dims_2_40: "w2",
      dims_deep_prime: "w2",
      dims_mid: "w2",
      groupneg: "group -8",
      nan_weight: "w1",
    };
    for (const [name, word] of Object.entries(words)) {
      const error = assertThrows(() => plan(readModel(`${cases}${name}.onnx`)), AttuneError);
      assertEquals(error.code, "bad-model");
      assertStringIncludes(error.message, word);
    }
  },
});

Deno.test({
  name: "models that broke once: order, float16 and overrides",
  ignore,
  fn() {
    const of = (name: string, options?: PlanOptions) =>
      plan(readModel(`${cases}${name}.onnx`), options);
    assertEquals(of("unsorted").layers.length, 2);
    assertEquals(of("vit_fp16").layers.length, 10);
    for (const bits of ["skip", 8] as const) {
      const made = of("shared_skip", { overrides: [{ pattern: "tower_b", bits }] });
      const tower = made.layers.find(({ target }) => target.name === "tower_b");
      assertEquals(tower?.bits, bits === "skip" ? undefined : bits);
      assertEquals(made.layers.find(({ target }) => target.name === "tower_a")!.bits, 4);
    }
  },
});
