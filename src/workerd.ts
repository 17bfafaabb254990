/**
 * attune at the edge: [core.ts](./core.ts) with what a Worker needs, where WebAssembly comes as
 * imported modules and none is compiled from bytes.
 *
 * @example A Worker that quantizes the weights of the model that it is sent
 * ```ts ignore
 * import kernel from "attune/kernel.wasm";
 * import { parseModel, plan, quantizeWeights, serializeModel } from "attune/workerd";
 *
 * export default {
 *   async fetch(request: Request): Promise<Response> {
 *     const model = parseModel(new Uint8Array(await request.arrayBuffer()));
 *     const made = plan(model, { bits: 4, activationBits: "none", format: "packed" });
 *     const { signal } = request;
 *     const { model: small } = await quantizeWeights(made, { kernel, signal });
 *     return new Response(serializeModel(small));
 *   },
 * };
 * ```
 *
 * @module
 */

export * from "./core.ts";
export { edgeRuntime, type OnnxRuntimeWeb } from "./runtime/edge.ts";
