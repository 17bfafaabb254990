/**
 * The quick job: eight bits to the nearest level on 100 images, beside a plain static quantizer
 * that runs every image once and no more (`static.ts`). Programs are timed in turns, starts
 * included.
 *
 * @module
 */

import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type BenchOptions,
  evaluateFile,
  FIGURES,
  figures,
  markdown,
  quantizeTo,
  type Section,
  type Subject,
  subjects,
} from "./run.ts";

/** Images, and how often each program runs. */
const IMAGES = 100, TURNS = 3;
const FLAGS = ["--bits", "8", "--rounding", "nearest"];
const STATIC = fileURLToPath(new URL("static.ts", import.meta.url));

/** Seconds and figures of the quick job and of a plain static quantizer. */
export async function quick(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    const files = ["attune", "static"].map((name) =>
      join(tmpdir(), `attune-quick-${crypto.randomUUID()}-${name}.onnx`)
    );
    try {
      const times: number[][] = [[], []];
      for (let turn = 0; turn < TURNS; turn++) {
        const programs = [
          () => quantizeTo(subject, files[0], FLAGS, { ...options, samples: IMAGES }),
          () => runStatic(subject, files[1]),
        ];
        for (const [i, program] of programs.entries()) {
          const start = performance.now();
          await program();
          times[i].push((performance.now() - start) / 1000);
        }
      }
      const [attune, plain] = times.map((seconds) => seconds.toSorted((a, b) => a - b)[1]);
      for (const [i, name] of ["one pass", "static"].entries()) {
        const evaluation = await evaluateFile(subject, files[i], options);
        const seconds = i === 0 ? attune : plain;
        rows.push([
          subject.name,
          name,
          seconds.toFixed(1),
          (seconds / plain).toFixed(2),
          ...figures(evaluation),
        ]);
        console.error(rows.at(-1)!.join("  "));
      }
    } finally {
      for (const file of files) rmSync(file, { force: true });
    }
  }
  return {
    title: "Eight bits to the nearest level, 100 images",
    body: markdown(["model", "", "seconds", "× static", ...FIGURES], rows),
  };
}

/** Runs the plain static quantizer. */
async function runStatic({ model, calib, flags }: Subject, output: string): Promise<void> {
  const preprocess = flags[flags.indexOf("--preprocess") + 1];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", STATIC, model, calib, String(IMAGES), output, preprocess, "none"],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
}
