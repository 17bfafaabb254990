/**
 * What goes wrong, as answers: `{ "error": { "code", "message" } }` with a status that fits.
 *
 * @module
 */

import { AttuneError, type ErrorCode } from "attune/workerd";

/** An error with the status that it is answered by. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** The statuses of attune's own errors. */
const STATUSES: Readonly<Record<ErrorCode, number>> = {
  "bad-option": 400,
  "bad-model": 422,
  "bad-data": 422,
  "too-large": 413,
  "bad-output": 500,
  "aborted": 503,
  "internal": 500,
};

/** The answer to a request that failed by `error`. */
export function errorAnswer(error: unknown): Response {
  const { status, code, message, headers } = httpError(error);
  return Response.json({ error: { code, message } }, { status, headers });
}

function httpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof AttuneError && error.code !== "internal") {
    return new HttpError(STATUSES[error.code], error.code, error.message);
  }
  // What it says may be of the server's own matters: that is for its log alone.
  console.error(error);
  return new HttpError(500, "internal", "Something went wrong here; the model may be at fault");
}
