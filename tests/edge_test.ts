/** The service of examples/edge in real workerd, `deno serve` and Node. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  inlinePool,
  openFiles,
  parseModel,
  plan,
  type PlanOptions,
  quantize,
  quantizeWeights,
  serializeModel,
} from "../src/core.ts";
import { createHandler } from "../examples/edge/handler.ts";
import { Turns } from "../examples/edge/limits.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { attune, inFolder } from "./helpers/command_line.ts";
import {
  classifier,
  sampleLines,
  serveDeno,
  serveNode,
  type Server,
  serveWorkerd,
  setUp,
} from "./helpers/edge.ts";

const folder = mkdtempSync(join(tmpdir(), "attune-edge-"));
const workerd = await setUp(folder);
if (workerd === undefined) console.log("skipped: workerd cannot be had, so it is not tested");
addEventListener("unload", () => rmSync(folder, { recursive: true, force: true }));

const dist = join(folder, "dist");
/** Limits of the servers that are tested: room for a hundred requests at once. */
const ROOMY = { jobs: 4, waiting: 128, bytes: 300_000, layers: 12, milliseconds: 120_000 };

/** Every host that there is here, with `limits`. */
const HOSTS: Record<string, (limits: typeof ROOMY) => Promise<Server>> = {
  ...(workerd && { workerd: (limits) => serveWorkerd(workerd, dist, limits) }),
  "deno serve": serveDeno,
  Node: (limits) => serveNode(dist, limits),
};

const bytesOf = (seed: number) => serializeModel(classifier(seed));

async function post(
  { url }: Server,
  path: string,
  body: BodyInit | null,
  headers: HeadersInit = { "content-type": "application/octet-stream" },
): Promise<Response> {
  return await fetch(url + path, { method: "POST", body, headers });
}

/** What the library makes of the classifier of `seed`. */
async function expected(seed: number, bits: number, jobSeed: number): Promise<Uint8Array> {
  const made = plan(parseModel(bytesOf(seed)), { ...WEIGHTS, bits });
  return serializeModel((await quantizeWeights(made, { seed: jobSeed })).model);
}
const WEIGHTS: PlanOptions = { activationBits: "none", format: "packed" };

for (const [host, serve] of Object.entries(HOSTS)) {
  Deno.test(`${host}: of 100 models that are sent at once, each comes back as the library makes it`, async () => {
    await using server = await serve(ROOMY);
    const requests = Array.from({ length: 100 }, (_, i) => ({ seed: i, bits: 2 + i % 7 }));
    const answers = await Promise.all(requests.map(async ({ seed, bits }) => {
      const path = `/quantize?bits=${bits}&seed=${seed}`;
      const answer = await post(server, path, bytesOf(seed));
      assertEquals(answer.status, 200, `${seed}`);
      return new Uint8Array(await answer.arrayBuffer());
    }));
    for (const [i, { seed, bits }] of requests.entries()) {
      assertEquals(answers[i], await expected(seed, bits, seed), `model ${seed}`);
    }
  });

  Deno.test(`${host}: what cannot be done is answered by a status and a sentence`, async () => {
    await using server = await serve(ROOMY);
    for (const [what, status, code, send] of WRONG) {
      const answer = await send(server), text = await answer.text();
      assertEquals(answer.status, status, `${what}: ${text}`);
      const { error } = JSON.parse(text);
      assertEquals(error.code, code, what);
      assert(error.message.length > 10, what);
    }
    // It still works.
    const plans = await post(server, "/plan?averageBits=3", bytesOf(1));
    const { layers, allocation } = await plans.json();
    assertEquals(layers.length, 3);
    assert(allocation.averageBits <= 3);
  });

  Deno.test(`${host}: a client that hangs up frees its turn, and those who wait are counted`, async () => {
    const limits = { ...ROOMY, jobs: 1, waiting: 0, milliseconds: 3_600_000 };
    await using server = await serve(limits);
    const gone = new AbortController();
    let feed: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (feed = controller),
    });
    const stalled = fetch(`${server.url}/quantize`, {
      method: "POST",
      body,
      signal: gone.signal,
      headers: { "content-type": "application/octet-stream" },
    }).then(() => "answered", () => "gone");
    feed!.enqueue(bytesOf(1).subarray(0, 1000));
    const busy = await until(server, 429);
    assertEquals(busy.headers.get("retry-after"), "1");
    assertEquals((await busy.json()).error.code, "busy");
    gone.abort();
    await (await until(server, 200)).body?.cancel();
    assertEquals(await stalled, "gone");
  });
}

/** Asks until the answer has `status`. */
async function until(server: Server, status: number): Promise<Response> {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await post(server, "/plan", bytesOf(2));
    if (answer.status === status) return answer;
    await answer.body?.cancel();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${server.name} never answers ${status}`);
}

/** A form with `parts`. */
function form(parts: Record<string, string | Uint8Array<ArrayBuffer>>): FormData {
  const data = new FormData();
  for (const [name, part] of Object.entries(parts)) {
    const [field, file] = name.split(":");
    data.append(field, file ? new File([part], file) : part as string);
  }
  return data;
}

type Wrong = [what: string, status: number, code: string, (server: Server) => Promise<Response>];
const model = bytesOf(3);
const WRONG: Wrong[] = [
  ["nothing", 400, "no-body", (server) => post(server, "/quantize", new Uint8Array())],
  ["no model", 422, "bad-model", (server) => post(server, "/quantize", new Uint8Array(99).fill(7))],
  ["half a model", 422, "bad-model", (server) => post(server, "/plan", model.slice(0, 900))],
  [
    "text",
    415,
    "bad-type",
    (server) => post(server, "/plan", "model", [["content-type", "text/plain"]]),
  ],
  ["width 9", 400, "bad-option", (server) => post(server, "/plan?bits=9", model)],
  ["no width", 400, "bad-option", (server) => post(server, "/plan?bits=four", model)],
  ["two widths", 400, "bad-option", (server) => post(server, "/plan?bits=4&bits=5", model)],
  [
    "width and budget",
    400,
    "bad-option",
    (server) => post(server, "/plan?bits=4&maxSize=9000", model),
  ],
  [
    "a budget that is too small",
    400,
    "bad-option",
    (server) => post(server, "/quantize?maxSize=9", model),
  ],
  ["an unknown parameter", 400, "bad-option", (server) => post(server, "/plan?bit=4", model)],
  [
    "activations without samples",
    400,
    "bad-option",
    (server) => post(server, "/quantize?activationBits=8", model),
  ],
  ["another place", 404, "not-found", (server) => post(server, "/quantise", model)],
  ["another method", 405, "bad-method", (server) => fetch(`${server.url}/quantize`)],
  [
    "too large, as it says",
    413,
    "too-large",
    (server) => post(server, "/plan", new Uint8Array(300_001)),
  ],
  [
    "too large, unsaid",
    413,
    "too-large",
    (server) => post(server, "/plan", new Blob([new Uint8Array(400_000)]).stream()),
  ],
  [
    "too many layers",
    422,
    "too-many-layers",
    (server) => post(server, "/plan", serializeModel(deep(13))),
  ],
  ["a model that is quantized", 422, "bad-model", async (server) => {
    const answer = await post(server, "/quantize", model);
    return await post(server, "/quantize", await answer.arrayBuffer());
  }],
  [
    "a form without a model",
    400,
    "bad-form",
    (server) => post(server, "/quantize", form({ samples: "x" }), []),
  ],
  [
    "a form that is cut off",
    400,
    "bad-form",
    (server) =>
      post(server, "/quantize", '--x\r\nContent-Disposition: form-data; name="mo', [
        ["content-type", "multipart/form-data; boundary=x"],
      ]),
  ],
  [
    "samples that are none",
    422,
    "bad-data",
    (server) =>
      post(server, "/quantize", form({ "model:m.onnx": model, "samples:s.npy": "no array" }), []),
  ],
];

/** A model of so many layers. */
function deep(layers: number): ReturnType<typeof classifier> {
  const made = classifier(1), { graph } = made.proto, conv = graph.node[3];
  const nodes = Array.from({ length: layers }, (_, i) => ({
    ...conv,
    name: `deep${i}`,
    input: [i === 0 ? "c" : `deep${i - 1}`, "w2"],
    output: [i === layers - 1 ? "d" : `deep${i}`],
  }));
  graph.node.splice(3, 1, ...nodes);
  return made;
}

Deno.test(
  "workerd quantizes on samples, too, to the bytes of Deno",
  { ignore: !workerd },
  async () => {
    await using server = await serveWorkerd(workerd!, dist, ROOMY);
    const lines = sampleLines(24);
    const answer = await post(
      server,
      "/quantize?bits=4&activationBits=8&format=qdq&seed=3",
      form({ "model:m.onnx": bytesOf(5), "samples:s.jsonl": lines }),
      [],
    );
    assertEquals(answer.status, 200);
    assertEquals(answer.headers.get("attune-samples"), "23");
    const made = plan(parseModel(bytesOf(5)), { bits: 4, activationBits: 8, format: "qdq" });
    const set = await openFiles([new File([lines], "s.jsonl")], { inputs: made.inputs });
    using pool = inlinePool(await loadBackend("web"));
    const { model } = await quantize(made, set.samples(), pool, { seed: 3 });
    assertEquals(new Uint8Array(await answer.arrayBuffer()), serializeModel(model));
  },
);

Deno.test("the service gives the bytes of the command line", async () => {
  await inFolder(async (place) => {
    const [from, to] = [join(place, "m.onnx"), join(place, "m.q.onnx")];
    writeFileSync(from, bytesOf(8));
    const { code, stderr } = await attune(
      ...[from, "--average-bits", "3", "--activation-bits", "none", "--format", "packed"],
      ...["--edge-bits", "6", "--seed", "9", "-o", to],
    );
    assertEquals(code, 0, stderr);
    assert(stderr.includes("no samples"), stderr);
    await using server = await serveDeno(ROOMY);
    const answer = await post(server, "/quantize?averageBits=3&edgeBits=6&seed=9", bytesOf(8));
    assertEquals(new Uint8Array(await answer.arrayBuffer()), new Uint8Array(readFileSync(to)));
  });
});

Deno.test("a job that takes too long, or whose client is gone, ends in between", async () => {
  const body = bytesOf(4);
  const ask = (signal?: AbortSignal) =>
    new Request("http://localhost/quantize", {
      method: "POST",
      body,
      signal,
      headers: { "content-type": "application/octet-stream" },
    });
  const slow = await createHandler({ ...ROOMY, milliseconds: 0 })(ask());
  assertEquals([slow.status, (await slow.json()).error.code], [503, "too-slow"]);
  // Layers wait for a moment between each other: that is when the client goes.
  const gone = new AbortController(), handler = createHandler({ ...ROOMY, jobs: 1, waiting: 0 });
  const answer = handler(ask(gone.signal));
  setTimeout(() => gone.abort());
  assertEquals((await answer).status, 503);
  assertEquals((await handler(ask())).status, 200);
});

Deno.test("a turn that a host never gives back ends by itself", async () => {
  const turns = new Turns({ ...ROOMY, jobs: 1, waiting: 1, milliseconds: 20 });
  const { signal } = new AbortController();
  turns.take(signal, () => new Promise(() => {}));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(await turns.take(signal, () => Promise.resolve("mine")), "mine");
});
