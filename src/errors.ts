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
 * - `bad-option`: a flag or an option has a value that is not allowed.
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
 * An error with a code from a closed set.
 *
 * @example
 * ```ts
 * import { AttuneError } from "./errors.ts";
 *
 * const error = new AttuneError("bad-option", "Cannot use --bits 9: give a width from 2 to 8");
 * if (error.code !== "bad-option") throw error;
 * ```
 */
export class AttuneError extends Error {
  /** What kind of thing went wrong. */
  readonly code: ErrorCode;

  /**
   * Creates an error; `message` is one sentence for people, without a full stop. Control characters in
   * the names that it tells are escaped.
   */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.name = "AttuneError";
    this.code = code;
  }

  /** Whether the user can mend it (a flag, a file), as opposed to a defect of attune. */
  get isUserError(): boolean {
    return this.code !== "internal" && this.code !== "aborted";
  }
}

/** Throws `aborted` if `signal` has fired. Call it between two pieces of work. */
export function checkAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw new AttuneError("aborted", "Stopped", { cause: signal.reason });
}
