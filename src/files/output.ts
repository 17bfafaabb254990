/**
 * Writes files, for Deno and Node: whole or not at all, and never in the place of what a job reads,
 * or of anything but a regular file.
 *
 * @module
 */

import { chmodSync, closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import {
  accessSync,
  constants,
  lstatSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, extname, join, relative, sep } from "node:path";
import { AttuneError } from "../errors.ts";
import { checkRegular } from "./regular.ts";
import { removeLeftovers, temporaryName } from "./temporary.ts";

/**
 * Throws `bad-output` where no file can be written at `path`: tried by an empty file beside it,
 * which is removed again.
 */
export function checkWritable(path: string): void {
  wrapped(path, () => {
    const temporary = join(dirname(placeOf(path)), temporaryName("."));
    closeSync(openSync(temporary, "wx"));
    rmSync(temporary);
  });
}

/**
 * Throws `bad-output` where one of `outputs` cannot be written, is one of `inputs`, or the same as
 * another: by their places on the disk, whatever their names. An input may be a folder: then none
 * of the images and tables in it is replaced.
 */
export function checkOutputs(outputs: readonly string[], inputs: readonly string[]): void {
  const taken = new Map(inputs.map((path) => [identityOf(path), path]));
  const folders = inputs.filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory());
  for (const path of outputs) {
    checkWritable(path);
    const identity = identityOf(path), other = taken.get(identity);
    const folder = DATA.has(extname(path).toLowerCase()) &&
      folders.find((folder) => isWithin(realpathSync(folder), placeOf(path)));
    if (other !== undefined || folder) {
      throw new AttuneError(
        "bad-output",
        `Cannot write ${path}: ` +
          (other === undefined
            ? `it would lie among the samples in ${folder}`
            : `it is the same file as ${other}`) +
          "; choose another path",
      );
    }
    taken.set(identity, path);
  }
}

/** What a folder of samples consists of. */
const DATA: ReadonlySet<string> = new Set([".jpg", ".jpeg", ".png", ".webp", ".csv"]);

/** Whether the real path `path` is in the real folder `folder`, or is it. */
export function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith(`..${sep}`) && join(folder, way) === path;
}

/**
 * Writes `parts` one after another to a temporary file beside `path`, then renames it: there is
 * either the whole file or none. A link stays one; the file that it leads to is replaced. The mode
 * of a file that was there is kept.
 *
 * @throws {AttuneError} `bad-output`, for example where the disk is full; nothing stays behind.
 */
export function writeFileAtomic(path: string, parts: Iterable<Uint8Array>): void {
  wrapped(path, () => {
    const place = placeOf(path), folder = dirname(place);
    removeLeftovers(folder, ".");
    const temporary = join(folder, temporaryName("."));
    try {
      const file = openSync(temporary, "wx");
      try {
        for (const part of parts) {
          for (let done = 0; done < part.length;) {
            done += writeSync(file, part, done, Math.min(part.length - done, 2 ** 30));
          }
        }
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      const old = statSync(place, { throwIfNoEntry: false });
      if (old) chmodSync(temporary, old.mode & 0o7777);
      renameSync(temporary, place);
    } catch (cause) {
      rmSync(temporary, { force: true });
      throw cause;
    }
  });
}

/** Where a file at `path` goes: the end of its links. Throws an Error where it cannot go there. */
function placeOf(path: string): string {
  if (path === "") throw new Error("the path is empty");
  if (/[\\/]$/.test(path)) throw new Error("it names a folder");
  const link = lstatSync(path, { throwIfNoEntry: false });
  if (link === undefined) return join(realpathSync(dirname(path)), basename(path));
  const place = realpathSync(path);
  checkRegular(statSync(place));
  accessSync(place, constants.W_OK);
  return place;
}

/**
 * What tells a file from all others: its place on the disk, or its path where there is none yet.
 */
function identityOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stats?.ino ? `${stats.dev}:${stats.ino}` : placeOf(path);
}

function wrapped(path: string, work: () => void): void {
  try {
    work();
  } catch (cause) {
    if (cause instanceof AttuneError && cause.code !== "bad-output") throw cause;
    throw new AttuneError(
      "bad-output",
      `Cannot write ${path || '""'}: ${(cause as Error).message}; free some space or choose ` +
        `another path`,
      { cause },
    );
  }
}
