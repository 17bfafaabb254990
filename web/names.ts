/**
 * Names of what the page gives.
 *
 * @module
 */

/** The name of the quantized model. */
export function outputName(model: string): string {
  return model.replace(/(\.onnx)?$/i, ".q.onnx");
}
