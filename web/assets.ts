/**
 * All that the page needs, loaded at once: afterwards it asks for nothing more.
 *
 * @module
 */

import type { Assets, NamedFile } from "./messages.ts";

/** The carried example. */
export interface Example {
  /** Its model. */
  readonly model: NamedFile;
  /** Images to calibrate on. */
  readonly calib: readonly NamedFile[];
  /** Images to judge by. */
  readonly val: readonly NamedFile[];
}

/** What the page is made of, beside itself. */
export interface Loaded {
  /** The script of its worker. */
  readonly job: Blob;
  /** What the worker needs. */
  readonly assets: Assets;
  /** The example. */
  readonly example: Example;
}

/** Images by their paths, in base64. */
type Packed = Readonly<Record<string, string>>;

/** Whether the page is asked to run models on the graphics processor, which takes another build. */
export const IS_GPU: boolean = new URLSearchParams(location.search).has("webgpu");

/** Loads everything. */
export async function load(): Promise<Loaded> {
  const ort = IS_GPU ? "ort-webgpu" : "ort";
  const [job, engine, script, wasm, model, images] = await Promise.all([
    blob("job.js", "text/javascript"),
    blob("engine.js", "text/javascript"),
    blob(`${ort}.js`, "text/javascript"),
    blob(`${ort}.wasm`, "application/wasm"),
    blob("shapes.onnx", "application/octet-stream"),
    fetched("example.json").then((response) => response.json()) as Promise<
      { readonly calib: Packed; readonly val: Packed }
    >,
  ]);
  return {
    // Workers from blobs are bound by this page's policy, and start without a request.
    job,
    assets: { engine, script, wasm, isGpu: IS_GPU },
    example: {
      model: { path: "shapes.onnx", file: model },
      calib: unpack(images.calib),
      val: unpack(images.val),
    },
  };
}

async function blob(name: string, type: string): Promise<Blob> {
  return new Blob([await (await fetched(name)).blob()], { type });
}

async function fetched(name: string): Promise<Response> {
  const response = await fetch(name);
  if (response.ok) return response;
  throw new Error(`${name} is not there (${response.status})`);
}

function unpack(packed: Packed): NamedFile[] {
  return Object.entries(packed).map(([path, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return { path, file: new Blob([bytes], { type: "image/webp" }) };
  });
}
