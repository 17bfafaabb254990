/**
 * What a job without samples takes of a Worker: peak memory of workerd's process, beside what it
 * holds before the first job, against the 128 MB of a Worker; and seconds.
 *
 * @module
 */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Server, serveWorkerd, setUp } from "../tests/helpers/edge.ts";
import { type BenchOptions, markdown, type Section } from "./run.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
/** Models from small to large; those of ../shared where they are. */
const MODELS = [
  "examples/shapes/shapes.onnx",
  ...[
    "resnet20_cifar10",
    "squeezenet1.1_224",
    "mobilenet_v1_0.75_224",
    "mobilenetv2_224",
    "use_lite",
  ]
    .map((name) => `../shared/models/${name}.onnx`),
];
const LIMITS = { bytes: 64e6, jobs: 1, waiting: 16, milliseconds: 600_000 };

/** Peak resident memory of workerd, in bytes; /proc tells it on Linux alone. */
function peakOf({ pid }: Server): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
  return 1024 * Number(kilobytes);
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);

/** Memory and time of one job per model, each in a workerd of its own. */
export async function edge(_: BenchOptions): Promise<Section> {
  const folder = mkdtempSync(join(tmpdir(), "attune-bench-edge-")), rows: string[][] = [];
  try {
    const workerd = await setUp(folder);
    if (workerd === undefined) return { title: TITLE, body: "workerd could not be had." };
    for (const path of MODELS.map((name) => join(root, name)).filter((each) => existsSync(each))) {
      await using server = await serveWorkerd(workerd, join(folder, "dist"), LIMITS);
      const idle = peakOf(server), body = readFileSync(path), started = performance.now();
      const answer = await fetch(`${server.url}/quantize?bits=4`, {
        method: "POST",
        body,
        headers: { "content-type": "application/octet-stream" },
      });
      const { length } = await answer.bytes(), seconds = (performance.now() - started) / 1000;
      const grown = peakOf(server) - idle;
      rows.push([
        basename(path, ".onnx"),
        megabytes(body.length),
        answer.ok ? megabytes(length) : String(answer.status),
        seconds.toFixed(1),
        megabytes(idle),
        megabytes(grown),
        (grown / body.length).toFixed(1),
        grown < 128e6 ? "yes" : "no",
      ]);
      console.error(rows.at(-1)!.join("  "));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const head = ["model", "MB", "MB at 4 bits", "seconds", "MB of workerd before"];
  return {
    title: TITLE,
    body: markdown([...head, "MB more for the job", "times the model", "within 128 MB"], rows),
  };
}
const TITLE = "A job at the edge";
