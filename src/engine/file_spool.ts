/**
 * Spools in files, for Deno and Node: memory stays the same for any number of samples.
 *
 * @module
 */

import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { AttuneError } from "../errors.ts";
import { ByteSpool, type ByteStore } from "./byte_spool.ts";
import type { SpoolFactory } from "./spool.ts";

/** A factory of spools, each a file in `folder`, removed when it is disposed of. */
export function fileSpools(folder: string): SpoolFactory {
  return () => new ByteSpool(fileStore(join(folder, `${randomUUID()}.spool`)));
}

/**
 * A new file at `path`, written from front to back. Its name is taken away at once, so that the
 * system frees it however the process ends.
 */
function fileStore(path: string): ByteStore {
  const file = openSync(path, "wx+");
  const remove = () => rmSync(path, { force: true });
  try {
    remove();
  } catch {
    // Windows keeps the name of an open file.
  }
  let end = 0;
  return {
    write(bytes) {
      try {
        for (let done = 0; done < bytes.length;) {
          done += writeSync(file, bytes, done, bytes.length - done, end + done);
        }
      } catch (cause) {
        throw new AttuneError(
          "bad-output",
          `Cannot write calibration data to ${path}: ${(cause as Error).message}; ` +
            `free some space or set TMPDIR to a larger disk`,
          { cause },
        );
      }
      end += bytes.length;
      return end - bytes.length;
    },
    read(bytes, offset) {
      for (let done = 0; done < bytes.length;) {
        const read = readSync(file, bytes, done, bytes.length - done, offset + done);
        if (read === 0) throw new AttuneError("internal", `Cannot read ${path}: it is cut off`);
        done += read;
      }
    },
    free() {
      closeSync(file);
      remove();
    },
  };
}
