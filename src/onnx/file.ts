/**
 * ONNX models on disk, for Deno and Node: external data is read where it lies, output is written
 * beside its place and renamed.
 *
 * @module
 */

import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { basename, dirname, isAbsolute, join, normalize } from "node:path";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type TensorProto, TensorProto_DataLocation } from "./gen/onnx_pb.ts";
import { AttuneError } from "../errors.ts";
import { isWithin, writeFileAtomic } from "../files/output.ts";
import { statRegular } from "../files/regular.ts";
import { modelChunks } from "./chunks.ts";
import { copyMessage, type Model, parseModel } from "./model.ts";
import { type ExternalData, externalEntries, isExternal, rawBytes } from "./tensor.ts";
import { mapTensors, tensorsOf } from "./tensors.ts";

/** A protobuf message must stay under 2 GiB; past this, tensors go to an external file. */
const INLINE_LIMIT = 1.8e9;

/** Reads `length` bytes at `offset` of a file; all the rest where `length` is not given. */
function readRange(path: string, offset: number, length?: number): Uint8Array {
  const { size } = statRegular(path);
  const file = openSync(path, "r");
  try {
    const count = length ?? size - offset;
    // Written so that NaN, from an entry that is no number, is refused.
    if (!(offset >= 0 && count >= 0 && offset + count <= size)) {
      throw new AttuneError(
        "bad-model",
        `Cannot read ${path}: bytes ${offset} to ${offset + count} are wanted, it has ${size}`,
      );
    }
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count;) {
      // Reads above 2 GiB are cut by the system.
      const read = readSync(file, bytes, done, Math.min(count - done, 2 ** 30), offset + done);
      if (read === 0) throw new AttuneError("bad-model", `Cannot read ${path}: it got shorter`);
      done += read;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/**
 * The external data of the model at `path`: regular files in the model's folder. Where the model is
 * a link, the folder that it really lies in counts, too: caches keep models and their data side by
 * side under other names. A file with a second name (a hard link) may be anybody's and is refused.
 */
function externalData(path: string): ExternalData {
  const folders = [dirname(path), dirname(realpathSync(path))].map((each) => realpathSync(each));
  return (location, offset, length) => {
    const named = join(dirname(path), location);
    const outside = () =>
      new AttuneError(
        "bad-model",
        `Cannot read external data "${location}": it lies outside the model's folder`,
      );
    if (isAbsolute(location) || normalize(location).split(/[\\/]/)[0] === "..") throw outside();
    try {
      const real = realpathSync(named);
      if (!folders.some((folder) => isWithin(folder, real))) throw outside();
      if (statRegular(real).nlink > 1) {
        throw new Error("it has a second name elsewhere (a hard link); make it a copy");
      }
      return readRange(real, offset, length);
    } catch (cause) {
      if (cause instanceof AttuneError) throw cause;
      throw new AttuneError(
        "bad-model",
        `Cannot read the model's external data file ${named}: ${(cause as Error).message}`,
        { cause },
      );
    }
  };
}

/** The files beside the model at `path` that its tensors name. */
export function dataFiles(model: Model, path: string): string[] {
  const locations = tensorsOf(model).filter(isExternal).map(({ externalData }) =>
    externalData.find(({ key }) => key === "location")?.value ?? ""
  );
  return [...new Set(locations)].filter(Boolean).map((name) => join(dirname(path), name));
}

/**
 * Reads the model at `path`. Tensors in external files are not loaded; each is read when needed.
 *
 * @throws {AttuneError} `bad-model` where the file cannot be read or is no model.
 */
export function readModel(path: string): Model {
  let bytes: Uint8Array;
  try {
    bytes = readRange(path, 0);
  } catch (cause) {
    if (cause instanceof AttuneError) throw cause;
    throw new AttuneError(
      "bad-model",
      `Cannot read ${path}: ${(cause as Error).message}; give the path of an ONNX file`,
      { cause },
    );
  }
  return parseModel(bytes, { external: externalData(path), name: basename(path) });
}

/**
 * Writes `model` to `path`. Where the message would near 2 GiB, or `externalFile` is asked for, all
 * large tensors go to a file beside it, one after another, never in one buffer. That file is named
 * after its content, so the model that was there stays whole until the new one is; then its data
 * goes.
 *
 * @throws {AttuneError} `bad-output`; what was there before is then as it was.
 */
export function writeModel(
  model: Model,
  path: string,
  options: {
    /** Keep large tensors in a file of their own. Default: only past 1.8 GB. */ externalFile?:
      boolean;
  } = {},
): void {
  const inline = tensorsOf(model).reduce((sum, tensor) => sum + tensor.rawData.length, 0);
  const moved: { tensor: TensorProto; read: () => Uint8Array; length: number }[] = [];
  const hash = createHash("sha256");
  const move = options.externalFile || inline > INLINE_LIMIT;
  const out = mapTensors(model, (tensor) => {
    // What lay in another file comes along: the new model may live in another folder.
    if (!isExternal(tensor) && !(move && tensor.rawData.length >= 1024)) return tensor;
    const read = () => rawBytes(tensor, model.external)!;
    const bytes = read();
    hash.update(bytes);
    const outside = Object.assign(copyMessage(tensor), {
      rawData: new Uint8Array(0),
      dataLocation: TensorProto_DataLocation.EXTERNAL,
    });
    moved.push({ tensor: outside, read, length: bytes.length });
    return outside;
  });
  const old = dataOf(path);
  const location = dataName(path, hash.digest("hex").slice(0, DIGITS));
  let offset = 0;
  for (const { tensor, length } of moved) {
    tensor.externalData = externalEntries({ location, offset, length });
    offset += length;
  }
  const data = join(dirname(path), location), existed = existsSync(data);
  if (moved.length > 0) {
    writeFileAtomic(
      data,
      (function* () {
        for (const { read } of moved) yield read();
      })(),
    );
  }
  try {
    writeFileAtomic(path, modelChunks(out));
  } catch (error) {
    if (!existed) rmSync(data, { force: true });
    throw error;
  }
  for (const file of old) {
    if (moved.length === 0 || basename(file) !== location) rmSync(file, { force: true });
  }
}

/** Digits of a digest in the name of a data file, and the bytes that a file's name may have. */
const DIGITS = 16, NAME_BYTES = 255;

/** What the data file of the model at `path` is called whose content has the digest `digest`. */
function dataName(path: string, digest: string): string {
  const end = `.${digest}.data`;
  const characters = [...basename(path)];
  while (Buffer.byteLength(characters.join("") + end) > NAME_BYTES) characters.pop();
  return characters.join("") + end;
}

/** The data files that {@linkcode writeModel} made for the model that is at `path` now. */
function dataOf(path: string): string[] {
  const isOwn = (name: string) => name === dataName(path, name.slice(-DIGITS - 5, -5));
  try {
    // Most models have none: they need not be read.
    if (!readdirSync(dirname(path)).some(isOwn)) return [];
    return dataFiles(readModel(path), path).filter((file) => isOwn(basename(file)));
  } catch {
    // There is none, or something else: not ours to remove.
    return [];
  }
}
