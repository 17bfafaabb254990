/**
 * ONNX models on disk, for Deno and Node: external data is read where it lies, output is written
 * beside its place and renamed.
 *
 * @module
 */

import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync } from "node:fs";
import { accessSync, constants, statSync, writeSync } from "node:fs";
import { basename, dirname, isAbsolute, join, normalize } from "node:path";
import { randomUUID } from "node:crypto";
import { TensorProto_DataLocation } from "./gen/onnx_pb.ts";
import { AttuneError } from "../errors.ts";
import { modelChunks } from "./chunks.ts";
import { copyMessage, copyModel, type Model, parseModel } from "./model.ts";
import { type ExternalData, externalEntries, isExternal, rawBytes } from "./tensor.ts";

/** A protobuf message must stay under 2 GiB; past this, tensors go to an external file. */
const INLINE_LIMIT = 1.8e9;

/** Reads `length` bytes at `offset` of a file; all the rest where `length` is not given. */
function readRange(path: string, offset: number, length?: number): Uint8Array {
  const file = openSync(path, "r");
  try {
    const size = fstatSync(file).size;
    const wanted = length ?? size - offset;
    // Written so that NaN, from an entry that is no number, is refused.
    if (!(offset >= 0 && wanted >= 0 && offset + wanted <= size)) {
      throw new AttuneError(
        "bad-model",
        `Cannot read ${path}: bytes ${offset} to ${offset + wanted} are wanted, it has ${size}`,
      );
    }
    const bytes = new Uint8Array(wanted);
    for (let done = 0; done < wanted;) {
      // Reads above 2 GiB are cut by the system.
      const read = readSync(file, bytes, done, Math.min(wanted - done, 2 ** 30), offset + done);
      if (read === 0) throw new AttuneError("bad-model", `Cannot read ${path}: it got shorter`);
      done += read;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** The external data of a model in `folder`; a location may not leave the folder. */
function externalData(folder: string): ExternalData {
  return (location, offset, length) => {
    if (isAbsolute(location) || normalize(location).split(/[\\/]/)[0] === "..") {
      throw new AttuneError(
        "bad-model",
        `Cannot read external data "${location}": it lies outside the model's folder`,
      );
    }
    try {
      return readRange(join(folder, location), offset, length);
    } catch (cause) {
      if (cause instanceof AttuneError) throw cause;
      throw new AttuneError(
        "bad-model",
        `Cannot read the model's external data file ${join(folder, location)}: ` +
          (cause as Error).message,
        { cause },
      );
    }
  };
}

/**
 * Reads the model at `path`. Tensors in external files are not loaded; each is read when needed.
 *
 * @throws {AttuneError} `bad-model` where the file cannot be read or is no model.
 */
export function readModel(path: string): Model {
  let bytes: Uint8Array;
  try {
    if (statSync(path).isDirectory()) throw new Error("it is a folder");
    bytes = readRange(path, 0);
  } catch (cause) {
    if (cause instanceof AttuneError) throw cause;
    throw new AttuneError(
      "bad-model",
      `Cannot read ${path}: ${(cause as Error).message}; give the path of an ONNX file`,
      { cause },
    );
  }
  return parseModel(bytes, { external: externalData(dirname(path)), name: basename(path) });
}

/** Throws `bad-output` where no file can be written at `path`. */
export function checkWritable(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) throw new Error("it is a folder");
  } catch (cause) {
    throw new AttuneError(
      "bad-output",
      `Cannot write ${path}: ${(cause as Error).message}; choose another -o`,
      { cause },
    );
  }
}

/**
 * Writes `parts` one after another to a temporary file beside `path`, then renames it: there is
 * either the whole file or none.
 *
 * @throws {AttuneError} `bad-output`, for example where the disk is full; nothing stays behind.
 */
export function writeFileAtomic(path: string, parts: Iterable<Uint8Array>): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
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
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new AttuneError(
      "bad-output",
      `Cannot write ${path}: ${(cause as Error).message}; free some space or choose another -o`,
      {
        cause,
      },
    );
  }
}

/**
 * Writes `model` to `path`. Where the message would near 2 GiB, or `externalFile` is asked for,
 * all large tensors go to `<path>.data`, one after another, never in one buffer.
 */
export function writeModel(
  model: Model,
  path: string,
  options: {
    /** Keep large tensors in a file of their own. Default: only past 1.8 GB. */ externalFile?:
      boolean;
  } = {},
): void {
  const out = copyModel(model);
  const { initializer } = out.proto.graph;
  const inline = initializer.reduce((sum, tensor) => sum + tensor.rawData.length, 0);
  const parts: Array<() => Uint8Array> = [];
  const location = `${basename(path)}.data`;
  let offset = 0;
  const move = options.externalFile || inline > INLINE_LIMIT;
  initializer.forEach((tensor, i) => {
    // What lay in another file comes along: the new model may live in another folder.
    if (!isExternal(tensor) && !(move && tensor.rawData.length >= 1024)) return;
    const read = () => rawBytes(tensor, model.external)!;
    const length = read().length;
    initializer[i] = Object.assign(copyMessage(tensor), {
      rawData: new Uint8Array(0),
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: externalEntries({ location, offset, length }),
    });
    parts.push(read);
    offset += length;
  });
  if (parts.length > 0) {
    writeFileAtomic(
      join(dirname(path), location),
      (function* () {
        for (const read of parts) yield read();
      })(),
    );
  }
  writeFileAtomic(path, modelChunks(out));
}
