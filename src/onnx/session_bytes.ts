/**
 * A model as a session takes it: a message with all small tensors inside, and the big ones beside
 * it, as external data that lies in memory. A message ends at 2 GiB, and each of its bytes is
 * copied several times on its way into a session.
 *
 * @module
 */

import { toBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema, type TensorProto, TensorProto_DataLocation } from "./gen/onnx_pb.ts";
import { copyMessage, type Model } from "./model.ts";
import { externalEntries, isExternal, rawBytes, storedLength } from "./tensor.ts";
import { mapTensors } from "./tensors.ts";

/** Bytes from which on a tensor goes beside the message. */
const BIG = 2 ** 24;
/** Bytes of tensors from which on all but small ones do. */
const MOST_INLINE = 2 ** 30, SMALL = 1024;

/** A file that a session finds in memory. */
export interface SessionFile {
  /** What the message calls it. */
  readonly path: string;
  /** What is in it; a buffer of its own, so that nothing else moves with it. */
  readonly data: Uint8Array;
}

/** What a session is opened from. */
export interface SessionParts {
  /** The message. */
  readonly bytes: Uint8Array;
  /** The tensors that lie beside it. */
  readonly external: readonly SessionFile[];
}

/** The message of `model` and the tensors beside it; those of external files are read in. */
export function sessionParts(
  model: Model,
  options: {
    /** Bytes from which on an initializer goes beside the message. Default: 16 MiB. */ big?:
      number;
  } = {},
): SessionParts {
  const initializers = new Set(model.proto.graph.initializer);
  const all = [...initializers].reduce((sum, tensor) => sum + storedLength(tensor), 0);
  const big = options.big ?? (all > MOST_INLINE ? SMALL : BIG);
  const external: SessionFile[] = [];
  const change = (tensor: TensorProto) => {
    const beside = initializers.has(tensor) && storedLength(tensor) >= big;
    if (!beside) return isExternal(tensor) ? inlined(tensor, model) : tensor;
    const raw = rawBytes(tensor, model.external)!, path = `tensor${external.length}`;
    // A view would take the whole of its buffer along into a worker.
    const data = raw.byteLength === raw.buffer.byteLength ? raw : new Uint8Array(raw);
    external.push({ path, data });
    return Object.assign(copyMessage(tensor), {
      rawData: new Uint8Array(0),
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: externalEntries({ location: path, offset: 0, length: raw.length }),
    });
  };
  const bytes = toBinary(ModelProtoSchema, mapTensors(model, change).proto);
  return { bytes, external };
}

/** The bytes of `model` with its external tensors read in; for models that are small. */
export function sessionBytes(model: Model): Uint8Array {
  return sessionParts(model, { big: Infinity }).bytes;
}

function inlined(tensor: TensorProto, { external }: Model): TensorProto {
  return Object.assign(copyMessage(tensor), {
    rawData: rawBytes(tensor, external),
    dataLocation: TensorProto_DataLocation.DEFAULT,
    externalData: [],
  });
}
