/**
 * The service on Node: its HTTP server in front of the handler of requests.
 *
 * @module
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { startPool } from "attune";
import { createHandler } from "./handler.ts";
import { limitsFrom } from "./limits.ts";

const handler = createHandler(limitsFrom(process.env), { pool: () => startPool({ threads: 0 }) });

/** `message` as a request whose signal fires once its client is gone. */
function requestOf(message: IncomingMessage, answer: ServerResponse): Request {
  const { method = "GET", url = "/", headers } = message, gone = new AbortController();
  answer.once("close", () => answer.writableFinished || gone.abort());
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(new URL(url, "http://localhost"), {
    method,
    headers: Object.entries(headers).map(([name, value]) => [name, String(value)]),
    signal: gone.signal,
    ...(hasBody && { body: bodyOf(message), duplex: "half" }),
  } as RequestInit);
}

/** Milliseconds that a client has to hear an answer before it has sent all. */
const PATIENCE = 2000;

/** The body of `message`; who does not want the rest of it still answers on its connection. */
function bodyOf(message: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks = message[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel() {
      message.resume();
      setTimeout(() => message.complete || message.destroy(), PATIENCE).unref();
    },
  }, { highWaterMark: 0 });
}

const server = createServer(async (message, answer) => {
  try {
    const response = await handler(requestOf(message, answer));
    answer.writeHead(response.status, Object.fromEntries(response.headers));
    if (response.body === null) answer.end();
    else await pipeline(Readable.fromWeb(response.body as never), answer);
  } catch {
    // The client is gone, or the address cannot be read.
    answer.destroy();
  }
});
server.listen(Number(process.env.PORT ?? 8000), process.env.HOST ?? "127.0.0.1", () => {
  console.log(`Listening on port ${(server.address() as AddressInfo).port}`);
});
