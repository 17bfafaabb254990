/**
 * A model above 2 GB: what it costs to quantize and evaluate one, in memory and time.
 *
 * @module
 */

import { appendFileSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataLocation,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model, serializeModel, setOpset } from "../src/onnx/model.ts";
import { bytesOf, DataType, externalEntries } from "../src/onnx/tensor.ts";
import { type BenchOptions, markdown, type Section } from "./run.ts";

/** A stack of matrix products. */
interface Stack {
  /** How many. */
  readonly layers: number;
  /** Rows and columns of each. */
  readonly width: number;
}

/** 36 layers of 64 MiB, and 9 of 256: 2.4 GB each. */
const STACKS = ["36x4096", "9x8192"];
/** The default method takes some minutes for such a layer, most of it in products of matrices. */
const ROUNDING = "nearest --no-shift";
/** Samples, and rows of each. */
const SAMPLES = 64, ROWS = 8;

/**
 * Peak memory and seconds of quantizing and evaluating models of 2.4 GB, or others, named as those.
 */
export async function large({ models, backend, widths }: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  const [rounding] = widths ?? [ROUNDING];
  for (const name of models ?? STACKS) {
    const [layers, width] = name.split("x").map(Number), stack = { layers, width };
    const folder = mkdtempSync(join(tmpdir(), "attune-large-"));
    try {
      const model = writeStack(folder, stack), data = join(folder, "samples.npy");
      writeSamples(data, stack.width);
      const output = join(folder, "model.q.onnx");
      const job = ["--bits", "4", "--activation-bits", "none", "--preprocess", "raw"];
      const flags = ["--rounding", ...rounding.split(" ")];
      const run = ["--data", data, "--backend", backend];
      const quantized = await attune(model, ...run, "-o", output, ...job, ...flags);
      const evaluated = await attune("evaluate", output, "--reference", model, ...run);
      rows.push([
        `${stack.layers} × ${stack.width}²`,
        `${(statSync(`${model}.data`).size / 1e9).toFixed(2)} GB`,
        `${(statSync(output).size / 1e6).toFixed(0)} MB`,
        rounding,
        ...[quantized, evaluated].flatMap(({ peak, seconds }) => [gigabytes(peak), seconds]),
        (JSON.parse(evaluated.said).mse ** 0.5).toPrecision(2),
      ]);
      console.error(rows.at(-1)!.join("  "));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const head = ["stack", "float", "4 bits", "rounding", "quantize: peak", "seconds"];
  return {
    title: "A model above 2 GB",
    body: markdown([...head, "evaluate: peak", "seconds", "output error"], rows),
  };
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;

/** Writes a stack of matrix products with a Relu after each; returns the path of its model. */
export function writeStack(folder: string, { layers, width }: Stack): string {
  const path = join(folder, "model.onnx"), location = "model.onnx.data";
  const length = 4 * width * width, file = openSync(join(folder, location), "w");
  const values = new Float32Array(width * width);
  let state = 1;
  for (let layer = 0; layer < layers; layer++) {
    for (let i = 0; i < values.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      values[i] = (state / 2 ** 31 - 1) * Math.sqrt(6 / width);
    }
    const bytes = bytesOf(values);
    for (let done = 0; done < length;) done += writeSync(file, bytes, done, length - done);
  }
  closeSync(file);
  const steps = Array.from({ length: layers }, (_, i) => i);
  const graph = create(GraphProtoSchema, {
    name: "stack",
    node: steps.flatMap((i) => [
      makeNode("MatMul", `layer${i}`, [i === 0 ? "x" : `x${i}`, `w${i}`], [`y${i}`]),
      makeNode("Relu", `relu${i}`, [`y${i}`], [i === layers - 1 ? "y" : `x${i + 1}`]),
    ]),
    initializer: steps.map((i) =>
      create(TensorProtoSchema, {
        name: `w${i}`,
        dataType: DataType.FLOAT,
        dims: [BigInt(width), BigInt(width)],
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: externalEntries({ location, offset: i * length, length }),
      })
    ),
    input: [info("x", ["N", ROWS, width])],
    output: [info("y", ["N", ROWS, width])],
  });
  const proto = create(ModelProtoSchema, { irVersion: 8n, graph }) as Model["proto"];
  const model: Model = { proto, name: "model.onnx" };
  setOpset(model, 17);
  writeFileSync(path, serializeModel(model));
  return path;
}

function info(name: string, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) => ({
    value: typeof size === "number"
      ? { case: "dimValue" as const, value: BigInt(size) }
      : { case: "dimParam" as const, value: size },
  }));
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: { case: "tensorType", value: { elemType: DataType.FLOAT, shape: { dim } } },
    },
  });
}

/** Writes samples of noise as a NumPy array. */
export function writeSamples(path: string, width: number): void {
  const values = new Float32Array(SAMPLES * ROWS * width);
  let state = 7;
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = state / 2 ** 31 - 1;
  }
  const shape = `(${SAMPLES}, ${ROWS}, ${width})`;
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + "\n";
  const start = Uint8Array.from([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, 118, 0]);
  writeFileSync(path, start);
  appendFileSync(path, new TextEncoder().encode(text));
  appendFileSync(path, bytesOf(values));
}

/** Runs attune with `args`: what it prints, its seconds, and the most memory that was resident. */
async function attune(...args: string[]): Promise<{ said: string; seconds: string; peak: number }> {
  const started = performance.now();
  const main = fileURLToPath(new URL("../quantize.ts", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, ...args, "--json"],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let peak = 0;
  const watch = setInterval(() => peak = Math.max(peak, residentPeak(child.pid)), 200);
  const { code, stdout } = await child.output();
  clearInterval(watch);
  if (code !== 0) throw new Error(`attune ${args.join(" ")} ended with ${code}`);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  return { said: new TextDecoder().decode(stdout), seconds, peak };
}

/** Bytes that were resident at most, as Linux tells. */
function residentPeak(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
  } catch {
    return 0; // It has ended.
  }
}
