/** The workflows of the repository: they can be read, run what we run, and hold no secret. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { parse } from "std/yaml/parse.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./helpers/command_line.ts";

interface Workflow {
  readonly on: Record<string, unknown>;
  readonly permissions: Record<string, string>;
  readonly jobs: Record<string, { readonly steps: readonly { readonly run?: string }[] }>;
}

const text = (name: string) => readFileSync(join(root, `.github/workflows/${name}.yml`), "utf8");
const commands = ({ jobs }: Workflow) =>
  Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run = [] }) => run));

Deno.test("every change is checked by .ci/run", () => {
  const ci = parse(text("ci")) as Workflow;
  assertEquals(commands(ci), [".ci/run"]);
  assert("pull_request" in ci.on && ci.permissions.contents === "read");
});

Deno.test("a tag publishes what passed .ci/run, by OIDC and without a token", () => {
  const release = parse(text("release")) as Workflow, run = commands(release);
  assertEquals(release.on, { push: { tags: ["v*"] } });
  assertEquals(release.permissions, { "contents": "read", "id-token": "write" });
  assert(!text("release").includes("secrets."), "a secret is not needed");
  const place = (part: string) => run.findIndex((line) => line.includes(part));
  assert(place(".ci/run") > 0 && place(".ci/run") < place("deno@2.9.6 publish"));
  assert(place("task npm") < place("npm publish --provenance"));
});
