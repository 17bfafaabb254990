/**
 * The worker that conducts: it reads models and samples, plans, and has its engines do the work.
 * The page only shows what it says.
 *
 * @module
 */

import { portOver } from "../src/workers/ports.ts";
import { serve } from "../src/workers/rpc.ts";
import { JobService } from "./job_service.ts";

const channel = globalThis as unknown as {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: "message", handler: (event: MessageEvent) => void): void;
};
const port = portOver(
  (message, transfer) => channel.postMessage(message, transfer ?? []),
  (receive) => channel.addEventListener("message", (event) => receive(event.data)),
);
serve([new JobService((event) => channel.postMessage(event))], port);
