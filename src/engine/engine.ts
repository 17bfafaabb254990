/**
 * The work of one worker: lanes of samples and a solver, behind one port.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { Runtime } from "../runtime/session.ts";
import { Lanes } from "./lanes.ts";
import { Solver } from "./solver.ts";
import type { SpoolFactory } from "./spool.ts";

/** What can be asked of a worker. */
export type Engine = Lanes & Solver;

/**
 * The services of an engine that runs models by `runtime`; one kernel serves both, call by call.
 */
export function engineServices(
  runtime: Runtime,
  newSpool: SpoolFactory,
  kernel: Kernel,
): [Lanes, Solver] {
  return [new Lanes(runtime, newSpool, kernel), new Solver(kernel)];
}
