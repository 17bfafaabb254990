/**
 * What attune needs of an inference runtime, and onnxruntime behind it.
 *
 * @module
 */

import type { SessionFile } from "../onnx/session_bytes.ts";
import type { TypedArray } from "../onnx/tensor.ts";
import { AttuneError } from "../errors.ts";

/** A tensor as it enters or leaves a session. */
export interface Value {
  /** The element type, as onnxruntime names it: `"float32"`, `"int64"`, … */
  readonly type: string;
  /** The shape. */
  readonly dims: readonly number[];
  /** The elements, row-major. */
  readonly data: TypedArray;
}

/** A model that is ready to run. */
export interface Session {
  /** Runs the model; returns all of its outputs. Feeds that it has no input for are ignored. */
  run(feeds: Readonly<Record<string, Value>>): Promise<Record<string, Value>>;
  /** Gives back its memory. */
  release(): Promise<void>;
}

/** Opens models. */
export interface Runtime {
  /** What to call it: `"web"`, `"node"`, … */
  readonly name: string;
  /** Opens the model of `bytes`. */
  open(bytes: Uint8Array, options?: OpenOptions): Promise<Session>;
}

/** Options of {@linkcode Runtime}'s `open`. */
export interface OpenOptions {
  /**
   * Whether quantization is only simulated: QuantizeLinear and DequantizeLinear run as they stand.
   * Otherwise onnxruntime turns what lies between them into integer kernels, and even rounds float
   * weights there to 8 bits, one scale for all. Default: false.
   */
  simulate?: boolean;
  /** Graph optimization; calibration keeps to `"basic"`. Default: `"all"`. */
  optimization?: "basic" | "all";
  /** Tensors that lie beside the message; see `sessionParts`. Default: none. */
  external?: readonly SessionFile[];
}

/** The part of onnxruntime-common that is used; every onnxruntime package has it. */
export interface OnnxRuntimeModule {
  /** Opens models. */
  readonly InferenceSession: {
    /** Opens the model of `bytes`. */
    create(bytes: Uint8Array, options?: Record<string, unknown>): Promise<OnnxSession>;
  };
  /** Makes tensors. */
  // deno-lint-ignore no-explicit-any
  readonly Tensor: new (type: any, data: any, dims: readonly number[]) => unknown;
}

/** The part of a session of onnxruntime-common that is used. */
export interface OnnxSession {
  /** What it can be fed. */
  readonly inputNames: readonly string[];
  /** Runs the model on `feeds`, tensors by name; gives all outputs. */
  // deno-lint-ignore no-explicit-any
  run(feeds: any): Promise<Record<string, any>>;
  /** Gives back its memory. */
  release(): Promise<void>;
}

/** Options of {@linkcode onnxruntime}. */
export interface RuntimeOptions {
  /** What to call it. Default: `"onnxruntime"`. */
  name?: string;
  /** Threads within one operator. Default: 1; attune runs one session per worker instead. */
  threads?: number;
  /**
   * An accelerator to try first, such as `"webgpu"`, where the module has it. Where it fails,
   * models run on the processor instead. Default: none.
   */
  accelerator?: string;
  /** Hears, once, that the accelerator failed and why. Default: nobody. */
  onFallback?: (reason: string) => void;
}

/** What was asked last of each module, to wait for. */
const busy = new WeakMap<OnnxRuntimeModule, Promise<unknown>>();

/**
 * Does `work` once the module has done what was asked of it before: onnxruntime-web stumbles over
 * calls side by side, such as the last one of a job that was stopped and the first of the next.
 */
function inTurn<T>(ort: OnnxRuntimeModule, work: () => Promise<T>): Promise<T> {
  const result = (busy.get(ort) ?? Promise.resolve()).then(work);
  busy.set(ort, result.catch(() => {}));
  return result;
}

/** A runtime from an onnxruntime module, already set up by the caller. */
export function onnxruntime(ort: OnnxRuntimeModule, options: RuntimeOptions = {}): Runtime {
  let { accelerator } = options;
  const withoutAccelerator = (cause: unknown) => {
    if (accelerator !== undefined) {
      options.onFallback?.(`${accelerator} does not work here: ${firstLine(cause)}`);
    }
    accelerator = undefined;
  };
  return {
    name: options.name ?? "onnxruntime",
    async open(bytes, open = {}) {
      const create = () => createSession(ort, bytes, open, { ...options, accelerator });
      const session = new FallingBackSession(
        ort,
        create,
        accelerator === undefined ? undefined : withoutAccelerator,
      );
      await session.open();
      return session;
    },
  };
}

/** Opens `bytes` on the accelerator of `options`, if there is one. */
function createSession(
  ort: OnnxRuntimeModule,
  bytes: Uint8Array,
  open: OpenOptions,
  { accelerator, threads = 1 }: RuntimeOptions,
): Promise<OnnxSession> {
  return ort.InferenceSession.create(bytes, {
    ...(accelerator && { executionProviders: [accelerator] }),
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: open.optimization ?? "all",
    executionMode: "sequential",
    // What fails is thrown, and need not be printed as well.
    logSeverityLevel: 4,
    ...(open.external?.length && { externalData: open.external }),
    // MatMul with 4-bit weights would otherwise round activations to 8 bits.
    extra: {
      session: {
        qdq_matmulnbits_accuracy_level: "0",
        ...(open.simulate && { disable_quant_qdq: "1" }),
      },
    },
  });
}

/** A session that is opened again without the accelerator where that fails. */
class FallingBackSession implements Session {
  readonly #ort: OnnxRuntimeModule;
  readonly #create: () => Promise<OnnxSession>;
  /** Gives the accelerator up; undefined where there is none, or no longer. */
  #giveUp: ((cause: unknown) => void) | undefined;
  #session: OnnxSession | undefined;

  constructor(
    ort: OnnxRuntimeModule,
    create: () => Promise<OnnxSession>,
    giveUp: ((cause: unknown) => void) | undefined,
  ) {
    this.#ort = ort;
    this.#create = create;
    this.#giveUp = giveUp;
  }

  async open(): Promise<void> {
    await this.#attempt("open", async () => {
      this.#session = await this.#create();
    });
  }

  async run(feeds: Record<string, Value>): Promise<Record<string, Value>> {
    // A batch may hold more than this part of the model reads.
    const names = this.#session!.inputNames.filter((name) => name in feeds);
    const tensors = Object.fromEntries(names.map((name) => {
      const { type, data, dims } = feeds[name];
      return [name, new this.#ort.Tensor(type, data, dims)];
    }));
    // Some adapters open a model and fail at its operators, or are lost on the way.
    const results = await this.#attempt("run", () => this.#session!.run(tensors));
    return Object.fromEntries(
      Object.entries(results).map(([name, { type, dims, data }]) => [name, { type, dims, data }]),
    );
  }

  release(): Promise<void> {
    return inTurn(this.#ort, () => this.#session!.release());
  }

  /** Does `work`; where it fails with the accelerator, once more without. */
  async #attempt<T>(what: "open" | "run", work: () => Promise<T>): Promise<T> {
    try {
      return await inTurn(this.#ort, () =>
        work().catch(async (cause) => {
          if (this.#giveUp === undefined) throw cause;
          this.#giveUp(cause);
          this.#giveUp = undefined;
          if (this.#session !== undefined) {
            await this.#session.release().catch(() => {});
            this.#session = await this.#create();
          }
          return await work();
        }));
    } catch (cause) {
      throw new AttuneError(
        "bad-model",
        `Cannot ${what} the model: onnxruntime says "${firstLine(cause)}"`,
        { cause },
      );
    }
  }
}

function firstLine(error: unknown): string {
  return String((error as Error)?.message ?? error).split("\n")[0];
}
