/**
 * The bytes of a model as a session takes them: all tensors inside.
 *
 * @module
 */

import { toBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "./gen/onnx_pb.ts";
import { copyModel, type Model } from "./model.ts";
import { bytesOf, type DataType, dimsOf, isExternal, rawTensor, readTensor } from "./tensor.ts";

/** The bytes of `model` with its external tensors read in. */
export function sessionBytes(model: Model): Uint8Array {
  const { graph } = model.proto;
  if (!graph.initializer.some(isExternal)) return toBinary(ModelProtoSchema, model.proto);
  const whole = copyModel(model);
  whole.proto.graph.initializer = graph.initializer.map((tensor) =>
    isExternal(tensor)
      ? rawTensor(
        tensor.name,
        tensor.dataType as DataType,
        dimsOf(tensor),
        bytesOf(readTensor(tensor, model.external)),
      )
      : tensor
  );
  return toBinary(ModelProtoSchema, whole.proto);
}
