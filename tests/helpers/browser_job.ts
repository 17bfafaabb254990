/** A whole job that runs alike in Deno and in a page; its result tells whether two bytes differ. */

import {
  type EnginePool,
  parseModel,
  plan,
  quantize,
  type Sample,
  type SampleSource,
  serializeModel,
} from "../../src/browser.ts";

/** Quantizes the carried example on noise; returns the SHA-256 of the result. */
export async function job(pool: EnginePool, bytes: Uint8Array): Promise<string> {
  return await quantizeExample(pool, bytes, samples());
}

/** Quantizes the carried example on `samples`; returns the SHA-256 of the result. */
export async function quantizeExample(
  pool: EnginePool,
  bytes: Uint8Array,
  samples: SampleSource,
): Promise<string> {
  const model = parseModel(bytes, { name: "shapes.onnx" });
  const { model: small } = await quantize(plan(model, { bits: 3 }), samples, pool, {
    // Learned, too: gradients, Adam, and scales by exponents are part of what must not differ.
    reconstruction: { kind: "blocks", iterations: 3 },
    seed: 3,
  });
  const digest = await crypto.subtle.digest("SHA-256", Uint8Array.from(serializeModel(small)));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function* samples(): AsyncGenerator<Sample> {
  let state = 1;
  for (let i = 0; i < 40; i++) {
    const data = Float32Array.from({ length: 3 * 32 * 32 }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 31 - 1;
    });
    yield { inputs: { image: { dims: [3, 32, 32], data } }, source: `noise ${i}` };
  }
}
