/** From a kind of input and a seed to files in a folder, and what is to be done with them. */

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkpointFile } from "../../src/calibrate/checkpoint_file.ts";
import { cutCommand } from "../../src/cli/cut.ts";
import { evaluateCommand } from "../../src/cli/evaluate.ts";
import { inspectCommand } from "../../src/cli/inspect.ts";
import { quantizeCommand } from "../../src/cli/quantize.ts";
import { NESTED_KEY } from "../../src/emit/nested.ts";
import { readModel } from "../../src/onnx/file.ts";
import { type Model, parseModel, serializeModel } from "../../src/onnx/model.ts";
import { bytesOf, DataType } from "../../src/onnx/tensor.ts";
import { makePlan } from "../../src/plan/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import { inlinePool } from "../../src/workers/pool.ts";
import { openSamples } from "../../src/samples/open.ts";
import { noise } from "../helpers/models.ts";
import { mutateNpy, mutateNpz, npy, type NpyArray, npz } from "./arrays.ts";
import { mutateCheckpoint, mutateJson } from "./checkpoints.ts";
import { DATA, DATA_FILE, MODELS } from "./corpus.ts";
import { KINDS as IMAGES, mutateImage, picture } from "./images.ts";
import { mutateModel } from "./models.ts";
import { optionsJob } from "./options.ts";
import { mutateBytes, Random } from "./random.ts";
import { flagsOf, labelsFile, linesFile } from "./texts.ts";

/**
 * What is done with the files of a case: arguments of the command line, or calls of the library.
 */
export type Job = { readonly args: readonly string[] } | { readonly run: () => Promise<void> };

/** The model, the samples and the result of a case, by file name. */
const MODEL = "m.onnx", SAMPLES = "d.npz", OUTPUT = "out.onnx";
const SHARED = fileURLToPath(new URL("../../../shared/cases/", import.meta.url));

/** Ways to quantize. */
const WAYS: readonly (readonly string[])[] = [
  "",
  "--bits 8",
  "--bits 2 --format packed",
  "--bits 3 --format packed --granularity block:8",
  "--bits ternary",
  "--format matmulnbits",
  "--format matmulnbits --granularity block:16 --activation-bits none",
  "--format float",
  "--activation-bits none",
  "--activation-bits 4",
  "--granularity tensor --symmetric",
  "--nested 8,4",
  "--nested 8,6,3 --format packed",
  "--grid piecewise --bits 3",
  "--blocks --iterations 3",
  "--average-bits 4",
  "--average-bits 4 --allocate gradient",
  "--average-bits 3 --allocate hessian-trace",
  "--average-bits 3 --allocate measured",
  "--allocate clusters",
  "--max-size 2kB",
  "--max-loss 0.01",
  "--rounding nearest",
  "--rounding stochastic",
  "--rounding adaround --iterations 5",
  "--rounding attention:gradient --iterations 5",
  "--range percentile:99",
  "--no-shift --no-bias-correction",
  "--edge-bits 3 --batch 1",
].map((line) => line.split(" ").filter(Boolean));

/** Writes the files of a case into `folder`, which is empty, and says what to do with them. */
type Maker = (random: Random, folder: string) => Job | Promise<Job>;

/** The kinds of input. */
export const KINDS: Readonly<Record<string, Maker>> = {
  model(random, folder) {
    const original = parseModel(serializeModel(random.pick(Object.values(MODELS))()));
    return modelJob(random, folder, mutateModel(random, original), original);
  },

  /** Mutations of models that broke attune once. */
  shared(random, folder) {
    // What is refused on reading is no start.
    const names = readdirSync(SHARED)
      .filter((name) => name.endsWith(".onnx") && name !== "proto_output.onnx").sort();
    const original = readModel(join(SHARED, random.pick(names)));
    return modelJob(random, folder, mutateModel(random, original), original);
  },

  array(random, folder) {
    const model = random.pick([MODELS.products, MODELS.attention, MODELS.embedding])();
    writeFileSync(join(folder, MODEL), serializeModel(model));
    const arrays = samplesOf(model), [first] = Object.values(arrays);
    const name = random.pick(["d.npy", SAMPLES, SAMPLES]);
    const bytes = name === SAMPLES ? mutateNpz(random, arrays) : mutateNpy(random, first);
    writeFileSync(join(folder, name), bytes);
    return jobOn(random, folder, name);
  },

  lines(random, folder) {
    const model = random.pick([MODELS.products, MODELS.attention, MODELS.embedding])();
    writeFileSync(join(folder, MODEL), serializeModel(model));
    const shapes = Object.entries(samplesOf(model)).map(([name, { dims: [, ...dims] }]) =>
      [name, dims] as const
    );
    writeFileSync(join(folder, "d.jsonl"), linesFile(random, Object.fromEntries(shapes)));
    return jobOn(random, folder, "d.jsonl");
  },

  async image(random, folder) {
    writeFileSync(join(folder, MODEL), serializeModel(MODELS.convolutions()));
    const images = join(folder, "images");
    mkdirSync(images);
    for (let i = 0; i < 4; i++) {
      const kind = random.pick(IMAGES), bytes = await picture(kind, random.below(9));
      const named = random.chance(0.9) ? kind : random.pick(IMAGES);
      const changed = i > 0 && random.chance(0.7) ? mutateImage(random, kind, bytes) : bytes;
      writeFileSync(join(images, `${i}.${named}`), changed);
    }
    const ways = ["", "--resize 8", "--resize none", "--crop 4", "--preprocess unit", "--crop 9x3"];
    return jobOn(random, folder, "images", random.pick(ways).split(" ").filter(Boolean));
  },

  async labels(random, folder) {
    writeFileSync(join(folder, MODEL), serializeModel(MODELS.convolutions()));
    const images = join(folder, "images");
    mkdirSync(images);
    const files = ["a.png", "b,c.png", "constructor.png"];
    for (const file of files) writeFileSync(join(images, file), await picture("png", 3));
    writeFileSync(join(images, "labels.csv"), labelsFile(random, files));
    return { args: ["evaluate", join(folder, MODEL), "--data", images, "--threads=0"] };
  },

  async checkpoint(random, folder) {
    const model = MODELS.products();
    writeFileSync(join(folder, MODEL), serializeModel(model));
    writeFileSync(join(folder, SAMPLES), npz(samplesOf(model)));
    const saved = await checkpointOf(folder);
    writeFileSync(join(folder, `${OUTPUT}.checkpoint`), await mutateCheckpoint(random, saved));
    return quantizeJob(folder, SAMPLES, [...RESUMED, "--resume"]);
  },

  flags(random, folder) {
    const model = MODELS.products(), at = (name: string) => join(folder, name);
    writeFileSync(at(MODEL), serializeModel(model));
    writeFileSync(at(SAMPLES), npz(samplesOf(model)));
    // What a job may be told to write over, unless it reads it.
    writeFileSync(at("out.npy"), npy(samplesOf(model).x));
    writeFileSync(at("out.csv"), labelsFile(random, ["x"]));
    const command = random.pick([quantizeCommand, evaluateCommand, inspectCommand, cutCommand]);
    const names = [
      MODEL,
      SAMPLES,
      "out.npy",
      "out.csv",
      ".",
      "none/x",
      OUTPUT,
      "out.html",
      "out/x",
    ];
    const paths = [...names, `out${"x".repeat(300)}`, "out.*.onnx"].map(at).concat("");
    const given = [`--data=${at(SAMPLES)}`, `--output=${at(OUTPUT)}`, `--bits=4`, "--threads=0"]
      .filter((flag) => flag.slice(2).split("=")[0] in command.flags && random.chance(0.9));
    const positionals = random.chance(0.9) ? [at(MODEL)] : random.pick([[], paths.slice(0, 2)]);
    return { args: [command.name, ...positionals, ...given, ...flagsOf(random, command, paths)] };
  },

  options(random, folder) {
    const model = random.pick([MODELS.products, MODELS.convolutions])();
    writeFileSync(join(folder, SAMPLES), npz(samplesOf(model)));
    return { run: () => optionsJob(random, model, join(folder, SAMPLES)) };
  },

  async cut(random, folder) {
    const format = random.pick(["qdq", "packed"]);
    const nested = await nestedModel(folder, format as "qdq" | "packed");
    const entry = nested.proto.metadataProps.find(({ key }) => key === NESTED_KEY)!;
    if (random.chance(0.4)) {
      const said = JSON.parse(entry.value);
      mutateJson(random, said);
      entry.value = JSON.stringify(said);
    }
    const changed = random.chance(0.8) ? serializeModel(mutateModel(random, nested)) : undefined;
    const bytes = changed ?? mutateBytes(random, serializeModel(nested));
    writeFileSync(join(folder, MODEL), bytes);
    const bits = random.pick(["8", "6", "4", "3"]), way = random.pick([[], ["--format=packed"]]);
    return {
      args: ["cut", join(folder, MODEL), "--bits", bits, "-o", join(folder, OUTPUT), ...way],
    };
  },
};

/**
 * The kinds in the order in which a run goes over them: models, where there is most to go wrong,
 * often.
 */
export const ROTATION: readonly string[] = (
  "model array model image model flags shared model options array model cut model labels model " +
  "checkpoint flags model shared model image lines"
).split(" ").filter((kind) => kind !== "shared" || isThere(SHARED));

/** Makes the case of `kind` and `seed` in `folder`, which is empty. */
export async function makeCase(kind: string, seed: number, folder: string): Promise<Job> {
  return await KINDS[kind](new Random(seed, kind), folder);
}

/** A job on a mutated model, as a file that may be damaged besides. */
function modelJob(random: Random, folder: string, model: Model, original: Model): Job {
  const bytes = serializeModel(model);
  writeFileSync(join(folder, MODEL), random.chance(0.1) ? mutateBytes(random, bytes) : bytes);
  writeFileSync(join(folder, DATA_FILE), bytesOf(DATA));
  writeFileSync(join(folder, SAMPLES), npz(samplesOf(random.chance(0.7) ? model : original)));
  return random.chance(0.25)
    ? { args: ["quantize", join(folder, MODEL), "--dry-run", ...random.pick(WAYS)] }
    : jobOn(random, folder, SAMPLES);
}

/** A job on the model in `folder` and samples named `data`. */
function jobOn(random: Random, folder: string, data: string, more: string[] = []): Job {
  if (random.chance(0.2)) writeFileSync(join(folder, OUTPUT), "what was there before");
  const model = join(folder, MODEL), samples = ["--data", join(folder, data), "--threads=0"];
  return random.do<Job>([
    () => quantizeJob(folder, data, [...random.pick(WAYS), ...more]),
    () => quantizeJob(folder, data, [...random.pick(WAYS), ...more]),
    () => quantizeJob(folder, data, [...random.pick(WAYS), ...more, "--json"]),
    () => ({ args: ["evaluate", model, ...samples, ...more] }),
    () => ({ args: ["inspect", model, ...random.pick([[], [...samples, ...more]])] }),
  ]);
}

function quantizeJob(folder: string, data: string, more: readonly string[]): Job {
  const [model, samples, output] = [MODEL, data, OUTPUT].map((name) => join(folder, name));
  const html = join(folder, "out.html");
  return {
    args: ["quantize", model, "--data", samples, "-o", output, "--report", html, "--threads=0"]
      .concat(more),
  };
}

/** How an interrupted job was asked for. */
const RESUMED = ["--rounding", "nearest"];

/** The checkpoint of a job on the products in `folder`, as it was when the first layer was done. */
async function checkpointOf(folder: string): Promise<Uint8Array> {
  const made = makePlan(readModel(join(folder, MODEL)));
  const { inputs } = made.graph, store = checkpointFile(join(folder, OUTPUT));
  const saved: Uint8Array[] = [];
  using pool = inlinePool(await loadBackend("web"));
  await quantize(made, (await openSamples(join(folder, SAMPLES), { inputs })).samples(), pool, {
    rounding: { kind: "nearest" },
    checkpoint: { ...store, save: (bytes) => void saved.push(Uint8Array.from(bytes)) },
  });
  return saved[0];
}

/** A model with nested grids. */
async function nestedModel(folder: string, format: "qdq" | "packed"): Promise<Model> {
  const model = MODELS.products(), path = join(folder, SAMPLES);
  writeFileSync(path, npz(samplesOf(model)));
  const made = makePlan(model, { nested: [8, 6, 4, 3], edgeBits: 3, format });
  using pool = inlinePool(await loadBackend("web"));
  const samples = await openSamples(path, { inputs: made.graph.inputs });
  return (await quantize(made, samples.samples(), pool, { rounding: { kind: "attention" } })).model;
}

const DESCR: Readonly<Record<number, readonly [descr: string, bytes: number]>> = {
  [DataType.FLOAT]: ["<f4", 4],
  [DataType.INT64]: ["<i8", 8],
  [DataType.INT32]: ["<i4", 4],
  [DataType.BOOL]: ["|b1", 1],
  [DataType.UINT8]: ["|u1", 1],
  [DataType.FLOAT16]: ["<f2", 2],
  [DataType.DOUBLE]: ["<f8", 8],
};

/** Six samples for the inputs that `model` declares, where they are small enough. */
export function samplesOf({ proto: { graph } }: Model): Record<string, NpyArray> {
  const arrays: Record<string, NpyArray> = {};
  const given = new Set(graph.initializer.map(({ name }) => name));
  for (const { name, type } of graph.input) {
    if (given.has(name)) continue;
    const tensor = type?.value.case === "tensorType" ? type.value.value : undefined;
    const sizes = (tensor?.shape?.dim ?? []).map(({ value }) =>
      value.case === "dimValue" && value.value >= 0n && value.value < 100n
        ? Number(value.value)
        : NaN
    );
    const whole = sizes.length > 0 && Number.isNaN(sizes[0]) ? sizes.slice(1) : sizes;
    const dims = [6, ...whole.map((size) => Number.isNaN(size) ? 3 : size)];
    const count = Math.min(dims.reduce((a, b) => a * b, 1), 1e5);
    const [descr, bytes] = DESCR[tensor?.elemType ?? 1] ?? DESCR[1];
    const data = descr === "<f4"
      ? bytesOf(noise(count, 3))
      : new Uint8Array(count * bytes).map((_, i) => i % bytes === 0 ? i / bytes % 7 : 0);
    arrays[name] = { dims, descr, bytes: data };
  }
  return arrays;
}

function isThere(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}
