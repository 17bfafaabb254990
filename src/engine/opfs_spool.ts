/**
 * Spools in the origin's private file system, for workers of browsers: what memory is too small
 * for.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { ByteSpool, type ByteStore, type Region } from "./byte_spool.ts";
import type { SpoolFactory } from "./spool.ts";

/** A file that a worker reads and writes without waiting. */
interface SyncFile {
  read(bytes: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  close(): void;
}

/** Spools in one file of a worker, and how to remove it. */
export interface OpfsSpools extends AsyncDisposable {
  /** Makes a new, empty spool. */
  readonly factory: SpoolFactory;
}

/**
 * Opens a file of its own in the origin's private file system. Only workers can do that.
 *
 * @throws {AttuneError} `bad-option` where the host has no such file system here.
 */
export async function opfsSpools(): Promise<OpfsSpools> {
  const name = `attune-${crypto.randomUUID()}.spool`;
  try {
    const folder = await navigator.storage.getDirectory();
    await removeStale(folder);
    const handle = await folder.getFileHandle(name, { create: true }) as unknown as {
      createSyncAccessHandle(): Promise<SyncFile>;
    };
    const file = await handle.createSyncAccessHandle();
    const store = regionStore(file);
    return {
      factory: () => new ByteSpool(store),
      async [Symbol.asyncDispose]() {
        file.close();
        await folder.removeEntry(name);
      },
    };
  } catch (cause) {
    throw new AttuneError(
      "bad-option",
      `Cannot keep calibration data in the browser's files: ${(cause as Error).message}; ` +
        `do so in a worker, or keep it in memory`,
      { cause },
    );
  }
}

/** Removes what pages that were closed have left behind: files that nobody wrote to for a day. */
async function removeStale(folder: FileSystemDirectoryHandle): Promise<void> {
  const { keys } = folder as unknown as { keys(): AsyncIterable<string> };
  for await (const name of keys.call(folder)) {
    if (!/^attune-.*\.spool$/.test(name)) continue;
    const { lastModified } = await (await folder.getFileHandle(name)).getFile();
    if (Date.now() - lastModified > 24 * 3600 * 1000) {
      // Somebody else may be at it.
      await folder.removeEntry(name).catch(() => {});
    }
  }
}

/** Bytes of many spools in one file: what was freed is used again, the first place that fits. */
export function regionStore(file: SyncFile): ByteStore {
  /**
   * Free regions in the order of their places, none beside another; what follows `end` is free,
   * too.
   */
  let free: Region[] = [], end = 0;
  return {
    write(bytes) {
      const at = free.findIndex((region) => region.bytes >= bytes.length);
      const offset = at < 0 ? end : free[at].offset;
      const written = file.write(bytes, { at: offset });
      if (written < bytes.length) {
        throw new AttuneError(
          "bad-output",
          `Cannot write calibration data: the browser's quota is used up; use fewer samples`,
        );
      }
      if (at < 0) end += bytes.length;
      else {
        const rest = free[at].bytes - bytes.length;
        free.splice(at, 1, ...(rest > 0 ? [{ offset: offset + bytes.length, bytes: rest }] : []));
      }
      return offset;
    },
    read(bytes, offset) {
      if (file.read(bytes, { at: offset }) === bytes.length) return;
      throw new AttuneError("internal", "Cannot read calibration data: the file is cut off");
    },
    free(regions) {
      const merged: Region[] = [];
      for (const region of [...free, ...regions].sort((a, b) => a.offset - b.offset)) {
        const last = merged.at(-1);
        if (last === undefined || last.offset + last.bytes < region.offset) merged.push(region);
        else {
          const bytes = last.bytes + region.bytes;
          merged[merged.length - 1] = { offset: last.offset, bytes };
        }
      }
      const last = merged.at(-1);
      if (last && last.offset + last.bytes === end) {
        end = merged.pop()!.offset;
        file.truncate(end);
      }
      free = merged;
    },
  };
}
