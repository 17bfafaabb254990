/** What the page of tests/samples_chromium_test.ts runs: reads samples, and quantizes on some. */

import * as ort from "onnxruntime-web/wasm";
import { inlinePool, onnxruntime, openFiles, type Sample } from "../../src/browser.ts";
import { quantizeExample } from "./browser_job.ts";
import { fetchFiles, type FilesCase, readCases } from "./sample_digests.ts";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = "/";

/** What the page is asked for. */
export interface Asked {
  /** Cases whose samples are told by their digests. */
  readonly cases: readonly FilesCase[];
  /** A case whose pixels are told. */
  readonly pixels: FilesCase;
  /** A case on whose samples the example is quantized. */
  readonly job: FilesCase;
}

/** What comes of it. */
export interface Told {
  /** The cases, read by the page itself and by a worker. */
  readonly page: string[][];
  readonly worker: string[][];
  /** The pixels of each sample, in base64. */
  readonly pixels: string[];
  /** The SHA-256 of the quantized model. */
  readonly job: string;
}

async function tell(): Promise<Told> {
  const { cases, pixels, job }: Asked = await (await fetch("/asked.json")).json();
  const page = await readCases(cases);
  const worker = await inWorker(cases);
  const told = (await read(pixels)).map(({ inputs }) => base64(inputs.image.data as Float32Array));
  const model = new Uint8Array(await (await fetch("/shapes.onnx")).arrayBuffer());
  using pool = inlinePool(onnxruntime(ort as never));
  // A list is as good as a generator.
  return { page, worker, pixels: told, job: await quantizeExample(pool, model, await read(job)) };
}

async function read({ paths, inputs, options }: FilesCase): Promise<Sample[]> {
  const set = await openFiles(await fetchFiles(paths), { ...options, inputs });
  const samples: Sample[] = [];
  for await (const sample of set.samples()) samples.push(sample);
  return samples;
}

function inWorker(cases: readonly FilesCase[]): Promise<string[][]> {
  const worker = new Worker("/browser_samples_worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(cases);
  });
}

function base64(values: Float32Array): string {
  return btoa(Array.from(values, (value) => String.fromCharCode(value)).join(""));
}

Object.assign(globalThis, { result: tell() });
