/**
 * Reads regular files and nothing else, for Deno and Node: a FIFO or a device could block for ever,
 * or never end.
 *
 * @module
 */

import { readFileSync, type Stats, statSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";

/**
 * What the system knows of the regular file at `path`; links are followed.
 *
 * @throws {Error} with a reason that reads on after a colon, such as "it is a folder".
 */
export function statRegular(path: string): Stats {
  return checkRegular(statSync(path));
}

/** The bytes of the regular file at `path`; throws as {@linkcode statRegular} does. */
export function readRegular(path: string): Uint8Array {
  statRegular(path);
  return readFileSync(path);
}

/** {@linkcode readRegular}, without waiting. */
export async function loadRegular(path: string): Promise<Uint8Array> {
  checkRegular(await stat(path));
  return await readFile(path);
}

/** `found`, if it is a regular file; throws as {@linkcode statRegular} does. */
export function checkRegular(found: Stats): Stats {
  if (found.isFile()) return found;
  throw new Error(`it is ${kindOf(found)}, not a regular file`);
}

function kindOf(found: Stats): string {
  if (found.isDirectory()) return "a folder";
  if (found.isFIFO()) return "a pipe";
  if (found.isSocket()) return "a socket";
  return "a device";
}
