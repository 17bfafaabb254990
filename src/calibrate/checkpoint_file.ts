/**
 * Checkpoints in files, for Deno and Node.
 *
 * @module
 */

import { existsSync, readFileSync, rmSync } from "node:fs";
import { writeFileAtomic } from "../onnx/file.ts";
import type { CheckpointStore } from "./checkpoint.ts";

/** The checkpoint of the job that writes `output`: a file beside it. */
export function checkpointFile(output: string): CheckpointStore {
  const name = `${output}.checkpoint`;
  return {
    name,
    load: () => existsSync(name) ? readFileSync(name) : undefined,
    save: (bytes) => writeFileAtomic(name, [bytes]),
    clear: () => rmSync(name, { force: true }),
  };
}
