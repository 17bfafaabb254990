// What a page makes of the package: a pool of its workers, bundled and run in a browser.
import {
  openFiles,
  parseModel,
  plan,
  quantize,
  serializeModel,
  startWorkers,
} from "attune/browser";

async function job() {
  const bytes = new Uint8Array(await (await fetch("/shapes.onnx")).arrayBuffer());
  const made = plan(parseModel(bytes), { bits: 4, activationBits: "none" });
  const lines = Array.from({ length: 8 }, (_, i) =>
    JSON.stringify(
      Array.from({ length: 3 }, () =>
        Array.from({ length: 32 }, () => Array.from({ length: 32 }, (_, k) => Math.sin(i + k)))),
    )).join("\n");
  const samples = await openFiles([new File([lines], "lines.jsonl")], { inputs: made.inputs });
  const pool = await startWorkers(
    () => new Worker(new URL("attune/worker", import.meta.url), { type: "module" }),
    { threads: 2 },
  );
  const { model } = await quantize(made, samples.samples(), pool, {
    rounding: { kind: "nearest" },
  });
  pool.dispose();
  return serializeModel(model).length;
}

globalThis.result = job().catch((error) => `failed: ${error}`);
