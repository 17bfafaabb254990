/**
 * NumPy's .npz files: a zip file of .npy files.
 *
 * @module
 */

import { BlobReader, type Entry, type FileEntry, ZipReader } from "@zip.js/zip.js";
import { AttuneError } from "../errors.ts";

/** Sums are compared, entries that share bytes refused; nothing is unpacked elsewhere. */
const CAREFUL = {
  checkSignature: true,
  checkOverlappingEntry: true,
  useWebWorkers: false,
} as const;

/** A .npz file of which arrays are unpacked as they are asked for. */
export interface Npz {
  /** The names of its arrays. */
  readonly names: readonly string[];
  /** The bytes of the .npy file of the array `name`; throws `AttuneError` `bad-data` if damaged. */
  unpack(name: string): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * Opens a .npz file; its directory is read, and no array. `source` names it in errors.
 *
 * Throws `AttuneError` `bad-data` if it is not a zip file, or holds no array.
 */
export async function openZip(file: Blob, source: string): Promise<Npz> {
  const fail = (what: string, cause: unknown) =>
    new AttuneError(
      "bad-data",
      `Cannot unpack "${source}" as .npz: ${what}: ${(cause as Error).message}; write it with ` +
        `numpy.savez`,
      { cause },
    );
  const entries = new Map<string, FileEntry>();
  try {
    for (const entry of await new ZipReader(new BlobReader(file), CAREFUL).getEntries()) {
      if (!isArray(entry)) continue;
      const name = entry.filename.slice(0, -".npy".length);
      if (entries.has(name)) throw new Error(`it holds "${name}" twice`);
      entries.set(name, entry);
    }
  } catch (cause) {
    throw fail("it is no zip file, or damaged", cause);
  }
  if (entries.size === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find arrays in "${source}": it holds no .npy file; write it with numpy.savez`,
    );
  }
  return {
    names: [...entries.keys()],
    async unpack(name) {
      try {
        return await unpackEntry(entries.get(name)!);
      } catch (cause) {
        throw fail(`array "${name}"`, cause);
      }
    },
  };
}

function isArray(entry: Entry): entry is FileEntry {
  return !entry.directory && entry.filename.endsWith(".npy");
}

/** The bytes of `entry`, never more than it says. */
async function unpackEntry(entry: FileEntry): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const { uncompressedSize } = entry;
  let size = 0;
  await entry.getData(
    new WritableStream<Uint8Array<ArrayBuffer>>({
      write(part) {
        size += part.length;
        // What a file says of itself may be a lie: memory is taken as bytes come.
        if (size > uncompressedSize) throw new Error("it is longer than it says");
        parts.push(part);
      },
    }),
    CAREFUL,
  );
  if (size < uncompressedSize) throw new Error("it is shorter than it says");
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
