/**
 * What is temporary, for Deno and Node. Folders are removed when they are disposed of, when the
 * program ends, and where it was killed, when it is next started.
 *
 * @module
 */

import { mkdirSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { randomUUID } from "node:crypto";
import { AttuneError } from "../errors.ts";

/** A folder for temporary files. */
export interface TemporaryFolder extends Disposable {
  /** Where it is. */
  readonly path: string;
}

/**
 * What names of our folders begin with. Machines and containers may share a folder but not the
 * numbers of their processes, so it says whose numbers these are.
 */
const OWN = `attune-${`${hostname()}${processSpace()}`.replace(/[^A-Za-z0-9.]/g, "_")}-`;

/**
 * Makes a folder for temporary files of this process, and removes those of processes that are gone.
 *
 * @throws {AttuneError} `bad-output` where the system's folder for temporary files takes none.
 */
export function temporaryFolder(): TemporaryFolder {
  const parent = tmpdir();
  let path: string;
  try {
    removeLeftovers(parent);
    path = join(parent, temporaryName());
    mkdirSync(path, { mode: 0o700 });
  } catch (cause) {
    throw new AttuneError(
      "bad-output",
      `Cannot keep temporary files in ${parent}: ${(cause as Error).message}; set TMPDIR to a ` +
        `folder that can be written`,
      { cause },
    );
  }
  const remove = () => rmSync(path, { recursive: true, force: true });
  process.on("exit", remove);
  return {
    path,
    [Symbol.dispose]() {
      process.off("exit", remove);
      remove();
    },
  };
}

/** A name for something temporary of this process, which begins with `prefix`. */
export function temporaryName(prefix: string = ""): string {
  return `${prefix}${OWN}${process.pid}-${randomUUID()}`;
}

/** Removes from `parent` what processes of this host that are gone have left there. */
export function removeLeftovers(parent: string, prefix: string = ""): void {
  const start = prefix + OWN;
  for (const name of readdirSync(parent)) {
    const pid = name.startsWith(start) ? /^(\d+)-/.exec(name.slice(start.length))?.[1] : undefined;
    if (pid === undefined || isAlive(Number(pid))) continue;
    try {
      rmSync(join(parent, name), { recursive: true, force: true });
    } catch {
      // Somebody else's.
    }
  }
}

/** Linux has several spaces of process numbers. */
function processSpace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace("pid:", "");
  } catch {
    return "";
  }
}

function isAlive(pid: number): boolean {
  try {
    // Signal 0 only asks.
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
