/** The solver by itself: problems in, solutions out, one after another, and stopped in between. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { Solver } from "../src/engine/solver.ts";
import { AttuneError } from "../src/errors.ts";
import type { RoundingMethod } from "../src/round/methods.ts";
import type { Problem } from "../src/round/problem.ts";
import type { Runtime } from "../src/runtime/session.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { noise } from "./helpers/models.ts";

/** A row of 64 rows and inputs, which depend on one another. */
function problem(method: RoundingMethod): Problem {
  const depth = 64, columns = noise(depth * 200, 1), gram = new Float32Array(depth * depth);
  for (let i = 0; i < depth; i++) {
    for (let j = 0; j < depth; j++) {
      for (let p = 0; p < 200; p++) {
        gram[i * depth + j] += (columns[i * 200 + p] + columns[p]) *
          (columns[j * 200 + p] + columns[p]);
      }
    }
  }
  return {
    groups: 1,
    rows: 64,
    depth,
    windows: { span: 7, lows: [-4] },
    grid: { kind: "uniform" },
    groupSize: depth,
    oneScale: false,
    weight: noise(64 * depth, 2),
    gram,
    gramTile: depth,
    damping: 0.01,
    method,
    refit: true,
    seed: 0,
    stream: 0,
  };
}

/** A runtime that no model is opened with. */
const noRuntime: Runtime = {
  name: "none",
  open: () => Promise.reject(new Error("no model is run here")),
};

Deno.test("a solver takes one problem at a time, whoever asks, and each gets the same as alone", async () => {
  const solver = new Solver();
  const problems = (["attention", "nearest", "stochastic"] as const).map((kind) =>
    problem({ kind })
  );
  const together = await Promise.all(problems.map((each) => solver.solve(each)));
  for (const [i, each] of problems.entries()) {
    assertEquals(together[i], await new Solver().solve(each));
  }
  const [attention, nearest] = together;
  assert(attention.error.final < nearest.error.final);
});

Deno.test("a signal stops a solve that is under way, and the solver goes on with the next", async () => {
  const solver = new Solver(),
    endless = problem({ kind: "attention:gradient", iterations: 2 ** 30 });
  const controller = new AbortController();
  let steps = 0;
  const onDone = (done: number) => {
    steps += done;
    if (steps >= 200) controller.abort();
  };
  const stopped = solver.solve(endless, { onDone, signal: controller.signal });
  const next = solver.solve(problem({ kind: "attention" }));
  assertEquals((await assertRejects(() => stopped, AttuneError)).code, "aborted");
  assertEquals(steps, 200);
  assertEquals(await next, await new Solver().solve(problem({ kind: "attention" })));
  assertEquals(
    (await assertRejects(
      () => solver.solve(endless, { signal: AbortSignal.abort() }),
      AttuneError,
    )).code,
    "aborted",
  );
});

Deno.test("a pool that is stopped ends the solve that its engine is in the middle of", async () => {
  using pool = inlinePool(noRuntime);
  const [client] = pool.clients, controller = new AbortController();
  const endless = problem({ kind: "attention:gradient", iterations: 2 ** 30 });
  {
    using _ = pool.stopOn(controller.signal);
    // The signal fires by a timer: an engine that never paused would not let it.
    const stopped = client.call("solve", [endless]);
    setTimeout(() => controller.abort(), 10);
    assertEquals((await assertRejects(() => stopped, AttuneError)).code, "aborted");
  }
  // Were the first still under way, this one would wait for ever.
  const { error } = await client.call("solve", [problem({ kind: "nearest" })]);
  assertEquals(error.final, error.nearest);
});
