/**
 * Builds the page and serves it on this machine: `deno task web [PORT]`.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildPage, DIST } from "./build.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css",
  js: "text/javascript",
  json: "application/json",
  svg: "image/svg+xml",
  wasm: "application/wasm",
};
const PORT = 8000;

/** Answers requests for the files of `folder`, which has no folders within. */
export async function answer(request: Request, folder: string = DIST): Promise<Response> {
  const name = new URL(request.url).pathname.slice(1) || "index.html";
  const type = TYPES[name.split(".").pop()!] ?? "application/octet-stream";
  const isName = /^[\w-][\w.-]*$/.test(name);
  const body = isName ? await readFile(join(folder, name)).catch(() => undefined) : undefined;
  return body === undefined
    ? new Response("not here", { status: 404 })
    : new Response(Uint8Array.from(body), { headers: { "content-type": type } });
}

if (import.meta.main) {
  await buildPage();
  Deno.serve(
    { port: Number(Deno.args[0] ?? PORT), hostname: "127.0.0.1" },
    (request) => answer(request),
  );
}
