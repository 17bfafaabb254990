/**
 * The service on Deno: `deno serve -A examples/edge/deno.ts`.
 *
 * @module
 */

import { startPool } from "attune";
import { createHandler } from "./handler.ts";
import { limitsFrom } from "./limits.ts";

export default {
  fetch: createHandler(limitsFrom(Deno.env.toObject()), { pool: () => startPool({ threads: 1 }) }),
};
