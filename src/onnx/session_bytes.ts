/**
 * The bytes of a model as a session takes them: all tensors inside.
 *
 * @module
 */

import { toBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema, TensorProto_DataLocation } from "./gen/onnx_pb.ts";
import { copyMessage, type Model } from "./model.ts";
import { isExternal, rawBytes } from "./tensor.ts";
import { mapTensors, tensorsOf } from "./tensors.ts";

/** The bytes of `model` with its external tensors read in. */
export function sessionBytes(model: Model): Uint8Array {
  if (!tensorsOf(model).some(isExternal)) return toBinary(ModelProtoSchema, model.proto);
  const whole = mapTensors(
    model,
    (tensor) =>
      isExternal(tensor)
        ? Object.assign(copyMessage(tensor), {
          rawData: rawBytes(tensor, model.external),
          dataLocation: TensorProto_DataLocation.DEFAULT,
          externalData: [],
        })
        : tensor,
  );
  return toBinary(ModelProtoSchema, whole.proto);
}
