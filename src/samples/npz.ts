/**
 * NumPy's .npz files: a zip file of .npy files.
 *
 * @module
 */

import { type UnzipFileInfo, unzipSync } from "fflate";
import { AttuneError } from "../errors.ts";

/** What deflate compresses at best: 258 bytes into 2 bits. */
const maxDeflateRatio = 1032;

/**
 * Unpacks a .npz file: the bytes of each .npy file in it, by the array's name. `source` names it in
 * errors.
 *
 * Throws `AttuneError` `bad-data` if it is not a zip file, is damaged, or holds no array.
 */
export function unpackNpz(bytes: Uint8Array, source: string): Map<string, Uint8Array> {
  const filter = (file: UnzipFileInfo) => {
    // The size comes from the file; memory is reserved by it, so it must be a possible one.
    if (file.originalSize > file.size * maxDeflateRatio) throw new Error("impossible size");
    return file.name.endsWith(".npy");
  };
  const files = new Map<string, Uint8Array>();
  try {
    for (const [name, data] of Object.entries(unzipSync(bytes, { filter }))) {
      files.set(name.slice(0, -".npy".length), data);
    }
  } catch (cause) {
    throw new AttuneError(
      "bad-data",
      `Cannot unpack "${source}" as .npz: ${(cause as Error).message}; write it with numpy.savez`,
      { cause },
    );
  }
  if (files.size === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find arrays in "${source}": it holds no .npy file; write it with numpy.savez`,
    );
  }
  return files;
}
