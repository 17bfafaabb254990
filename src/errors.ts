/**
 * The errors of attune. Each has a code from a closed set, so that a program can react to it, and a
 * sentence that names what went wrong, where, the value found and the remedy.
 *
 * @module
 */

import { printable } from "./printable.ts";

/**
 * What kind of thing went wrong.
 *
 * - `bad-option`: an option has a value that is not allowed.
 * - `bad-model`: the model cannot be read, or is not one that can be quantized.
 * - `bad-data`: the samples cannot be read, or do not fit the model.
 * - `bad-output`: the result cannot be written.
 * - `too-large`: the work does not fit into memory.
 * - `aborted`: the caller's `AbortSignal` fired.
 * - `internal`: a defect of attune itself.
 */
export type ErrorCode =
  | "bad-option"
  | "bad-model"
  | "bad-data"
  | "bad-output"
  | "too-large"
  | "aborted"
  | "internal";

/**
 * A change of one option that mends an error: its name in the library, and the value to try, where
 * one is known. `samples` are those that a job is given.
 */
export type Remedy =
  | { readonly option: "activationBits"; readonly value: "none" }
  | { readonly option: "backend"; readonly value: string }
  | { readonly option: "nested"; readonly value: readonly number[] }
  | {
    readonly option: "overrides";
    /** One more override; without a value, any that leaves large layers in float. */
    readonly value?: { readonly pattern: string; readonly bits: number | "skip" };
  }
  | { readonly option: "resume"; readonly value: false }
  | {
    readonly option: "damping" | "edgeBits" | "format" | "granularity" | "samples";
    readonly value?: undefined;
  };

/** What goes with an error. */
export interface AttuneErrorOptions extends ErrorOptions {
  /** Options that mend it; any one of them may do. Default: none. */
  readonly remedies?: readonly Remedy[];
}

/**
 * An error with a code from a closed set.
 *
 * @example
 * ```ts
 * import { AttuneError } from "./errors.ts";
 *
 * const error = new AttuneError("bad-data", "Cannot factor a Gram matrix: give more damping", {
 *   remedies: [{ option: "damping" }],
 * });
 * if (error.code !== "bad-data" || error.remedies[0].option !== "damping") throw error;
 * ```
 */
export class AttuneError extends Error {
  /** What kind of thing went wrong. */
  readonly code: ErrorCode;
  /** Options that mend it, for a program to set, or to tell in its own words. */
  readonly remedies: readonly Remedy[];

  /**
   * Creates an error; `message` is one sentence for people, without a full stop. Control characters
   * in the names that it tells are escaped.
   */
  constructor(code: ErrorCode, message: string, options: AttuneErrorOptions = {}) {
    super(printable(message), options);
    this.name = "AttuneError";
    this.code = code;
    this.remedies = options.remedies ?? [];
  }

  /** Whether the user can mend it (an option, a file), as opposed to a defect of attune. */
  get isUserError(): boolean {
    return this.code !== "internal" && this.code !== "aborted";
  }
}

/** Throws `aborted` if `signal` has fired. Call it between two pieces of work. */
export function checkAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw new AttuneError("aborted", "Stopped", { cause: signal.reason });
}
