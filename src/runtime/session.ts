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
    create(bytes: Uint8Array, options?: Record<string, unknown>): Promise<OnnxSession>;
  };
  // deno-lint-ignore no-explicit-any
  readonly Tensor: new (type: any, data: any, dims: readonly number[]) => unknown;
}

interface OnnxSession {
  readonly inputNames: readonly string[];
  // deno-lint-ignore no-explicit-any
  run(feeds: any): Promise<Record<string, any>>;
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
  return {
    name: options.name ?? "onnxruntime",
    async open(bytes, open = {}) {
      let session: OnnxSession;
      const create = () =>
        ort.InferenceSession.create(bytes, {
          ...(accelerator && { executionProviders: [accelerator] }),
          intraOpNumThreads: options.threads ?? 1,
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
      const withoutAccelerator = (cause: unknown) => {
        if (accelerator !== undefined) {
          options.onFallback?.(`${accelerator} does not work here: ${firstLine(cause)}`);
        }
        accelerator = undefined;
        return create();
      };
      let accelerated = accelerator !== undefined;
      try {
        session = await inTurn(ort, () =>
          create().catch((cause) => {
            if (!accelerated) throw cause;
            accelerated = false;
            return withoutAccelerator(cause);
          }));
      } catch (cause) {
        throw new AttuneError(
          "bad-model",
          `Cannot open the model: onnxruntime says "${firstLine(cause)}"`,
          { cause },
        );
      }
      return {
        async run(feeds) {
          // A batch may hold more than this part of the model reads.
          const tensors = Object.fromEntries(
            session.inputNames.filter((name) => name in feeds).map((name) => {
              const { type, data, dims } = feeds[name];
              return [name, new ort.Tensor(type, data, dims)];
            }),
          );
          let results;
          try {
            results = await inTurn(ort, () =>
              session.run(tensors).catch(async (cause) => {
                if (!accelerated) throw cause;
                // Some adapters open a model and fail at its operators, or are lost on the way.
                accelerated = false;
                await session.release().catch(() => {});
                session = await withoutAccelerator(cause);
                return await session.run(tensors);
              }));
          } catch (cause) {
            throw new AttuneError(
              "bad-model",
              `Cannot run the model: onnxruntime says "${firstLine(cause)}"`,
              { cause },
            );
          }
          return Object.fromEntries(
            Object.entries(results).map((
              [name, { type, dims, data }],
            ) => [name, { type, dims, data }]),
          );
        },
        release: () => inTurn(ort, () => session.release()),
      };
    },
  };
}

function firstLine(error: unknown): string {
  return String((error as Error)?.message ?? error).split("\n")[0];
}
