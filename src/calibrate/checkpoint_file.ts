/**
 * Checkpoints in files, for Deno and Node.
 *
 * @module
 */

import { existsSync, rmSync } from "node:fs";
import { AttuneError } from "../errors.ts";
import { writeFileAtomic } from "../files/output.ts";
import { readRegular } from "../files/regular.ts";
import type { CheckpointStore } from "./checkpoint.ts";

/**
 * The checkpoint of the job that writes `output`: a file beside it. Loading it throws `bad-option`
 * where it cannot be read.
 */
export function checkpointFile(output: string): CheckpointStore {
  const name = `${output}.checkpoint`;
  return {
    name,
    load() {
      if (!existsSync(name)) return undefined;
      try {
        return readRegular(name);
      } catch (cause) {
        throw new AttuneError(
          "bad-option",
          `Cannot resume from ${name}: ${(cause as Error).message}; move it away to start anew`,
          { cause },
        );
      }
    },
    save: (bytes) => writeFileAtomic(name, [bytes]),
    clear: () => rmSync(name, { force: true }),
  };
}
