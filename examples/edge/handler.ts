/**
 * Quantization as a service: one handler of requests, for workerd, `deno serve` and Node.
 *
 * `POST /plan` answers with what would be done, `POST /quantize` with the quantized model. The body
 * is a model, or a form with a `model` and files of `samples`. See README.md.
 *
 * @module
 */

import {
  chooseBits,
  type EnginePool,
  type Model,
  modelStream,
  openFiles,
  parseModel,
  type Plan,
  plan,
  quantize,
  quantizeWeights,
  summarize,
  VERSION,
} from "attune/workerd";
import { errorAnswer, HttpError } from "./errors.ts";
import { limitedBody, type Limits, Turns } from "./limits.ts";
import { type Asked, optionsFrom, PARAMETERS } from "./options.ts";

/** What the handler has of its host. */
export interface Host {
  /** The compiled kernel, where bytes cannot be compiled. Default: the one within the library. */
  readonly kernel?: WebAssembly.Module;
  /** Engines for a job on samples, which disposes of them. Default: samples are refused. */
  readonly pool?: () => EnginePool | Promise<EnginePool>;
}

/** A request's body, read. */
interface Sent {
  readonly model: Model;
  /** None where weights are to be rounded without them. */
  readonly samples: readonly File[];
}

/** What a request is answered with, within a turn. */
type Job = (sent: Sent, asked: Asked, signal: AbortSignal) => Promise<Response>;

/** The handler of a server on `host` that keeps to `limits`. */
export function createHandler(
  limits: Limits,
  host: Host = {},
): (request: Request) => Promise<Response> {
  const turns = new Turns(limits), service = new Service(limits, host);
  const jobs: Readonly<Record<string, Job>> = {
    "/plan": (...job) => service.plan(...job),
    "/quantize": (...job) => service.quantize(...job),
  };
  return async (request) => {
    try {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/") return welcome(request, limits);
      if (!Object.hasOwn(jobs, pathname)) {
        throw new HttpError(404, "not-found", "There are /, /plan and /quantize here");
      }
      allow(request, "POST");
      const asked = optionsFrom(searchParams), type = bodyType(request);
      return await turns.take(request.signal, async () => {
        const signal = AbortSignal.any([request.signal, AbortSignal.timeout(limits.milliseconds)]);
        try {
          const body = limitedBody(request, limits.bytes, signal);
          return await jobs[pathname](await readSent(body, type, request), asked, signal);
        } catch (error) {
          throw signal.aborted ? late(limits) : error;
        }
      });
    } catch (error) {
      return errorAnswer(error);
    }
  };
}

function late({ milliseconds }: Limits): HttpError {
  return new HttpError(503, "too-slow", `The job took more than ${milliseconds} milliseconds`);
}

/** What a plan and a model become. */
class Service {
  readonly #limits: Limits;
  readonly #host: Host;

  constructor(limits: Limits, host: Host) {
    this.#limits = limits;
    this.#host = host;
  }

  /** `POST /plan`: what would become of each layer. */
  async plan({ model }: Sent, asked: Asked, signal: AbortSignal): Promise<Response> {
    const { kernel } = this.#host;
    const chosen = await chooseBits(this.#planOf(model, asked), undefined, { kernel, signal });
    return Response.json(summarize(chosen));
  }

  /** `POST /quantize`: the quantized model, and what was done in a header. */
  async quantize({ model, samples }: Sent, asked: Asked, signal: AbortSignal): Promise<Response> {
    const made = this.#planOf(model, asked), options = { ...asked.rounding, signal };
    const { model: small, report } = samples.length === 0
      ? await quantizeWeights(made, { ...options, kernel: this.#host.kernel })
      : await this.#onSamples(made, samples, options);
    const { before, after } = report.size;
    return new Response(modelStream(small), {
      headers: {
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="model.q.onnx"',
        "attune-samples": String(report.samples.calibration),
        "attune-size": `${before} ${after}`,
      },
    });
  }

  async #onSamples(
    made: Plan,
    samples: readonly File[],
    options: Asked["rounding"] & { readonly signal: AbortSignal },
  ): Promise<Awaited<ReturnType<typeof quantize>>> {
    if (this.#host.pool === undefined) {
      throw new HttpError(400, "no-samples", "This server takes no samples: send a model alone");
    }
    const set = await openFiles(samples, { inputs: made.inputs });
    const pool = await this.#host.pool();
    try {
      return await quantize(made, set.samples(), pool, options);
    } finally {
      pool.dispose();
    }
  }

  #planOf(model: Model, asked: Asked): Plan {
    const nodes = model.proto.graph.node.length, { layers } = this.#limits;
    const made = nodes > 100 * layers ? undefined : plan(model, asked.plan);
    if (made !== undefined && made.layers.length <= layers) return made;
    const found = made ? `${made.layers.length} layers` : `${nodes} nodes`;
    throw new HttpError(422, "too-many-layers", `The model has ${found}, of ${layers} layers`);
  }
}

/** What a body may be. */
type BodyType = "model" | "form";

/** Checks that `request` has a method of `methods`. */
function allow({ method }: Request, ...methods: readonly string[]): void {
  if (methods.includes(method)) return;
  const allowed = methods.join(" or ");
  throw new HttpError(405, "bad-method", `Cannot ${method} here: ${allowed}`, { allow: allowed });
}

/** What there is. */
function welcome(request: Request, limits: Limits): Response {
  allow(request, "GET", "HEAD");
  return Response.json({
    attune: VERSION,
    "POST /plan": "what would become of each layer of the model that is sent, as JSON",
    "POST /quantize": "the model that is sent, quantized",
    body: "an ONNX file; or a form with `model` and `samples`, .npy, .npz or .jsonl files",
    parameters: PARAMETERS,
    limits,
  });
}

function bodyType(request: Request): BodyType {
  const type = (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (type === "multipart/form-data") return "form";
  if (["", "application/octet-stream", "application/x-onnx", "application/onnx"].includes(type)) {
    return "model";
  }
  throw new HttpError(
    415,
    "bad-type",
    `Cannot read a body of type ${type}: send a model as application/octet-stream, or a form as ` +
      `multipart/form-data`,
  );
}

/** Reads `body`: a model, or a form with one and samples. */
async function readSent(
  body: ReadableStream<Uint8Array>,
  type: BodyType,
  request: Request,
): Promise<Sent> {
  const headers = { "content-type": request.headers.get("content-type") ?? "" };
  const whole = new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>, { headers });
  const unread = (error: unknown) => {
    if (error instanceof HttpError) throw error;
    throw new HttpError(400, `bad-${type}`, `Cannot read the ${type}: it is damaged, or cut off`);
  };
  if (type === "model") {
    return { model: modelOf(await whole.arrayBuffer().catch(unread)), samples: [] };
  }
  const form = await whole.formData().catch(unread);
  const isFile = (part: FormDataEntryValue): part is File => part instanceof File;
  const [model, ...others] = form.getAll("model").filter(isFile);
  if (model === undefined || others.length > 0) {
    throw new HttpError(400, "bad-form", "Send a form with one file as `model`");
  }
  return {
    model: modelOf(await model.arrayBuffer()),
    samples: form.getAll("samples").filter(isFile),
  };
}

function modelOf(bytes: ArrayBuffer): Model {
  if (bytes.byteLength === 0) throw new HttpError(400, "no-body", "Send a model as the body");
  return parseModel(new Uint8Array(bytes), { name: "the model" });
}
