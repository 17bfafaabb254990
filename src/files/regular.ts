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

/** `stats`, if it is of a regular file; throws as {@linkcode statRegular} does. */
export function checkRegular(stats: Stats): Stats {
  if (stats.isFile()) return stats;
  throw new Error(`it is ${kindOf(stats)}, not a regular file`);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a folder";
  if (stats.isFIFO()) return "a pipe";
  if (stats.isSocket()) return "a socket";
  return "a device";
}
