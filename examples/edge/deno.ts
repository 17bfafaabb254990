/**
 * The service on Deno: `deno serve --allow-env --allow-read examples/edge/deno.ts`.
 *
 * @module
 */

import { loadBackend } from "../../src/runtime/backends.ts";
import { createHandler } from "./handler.ts";
import { limitsFrom } from "./limits.ts";

export default {
  fetch: createHandler(limitsFrom(Deno.env.toObject()), { runtime: () => loadBackend("web") }),
};
