import { makeCase } from "./cases.ts";
import { mkdirSync, rmSync } from "node:fs";
import { main } from "../../src/cli/main.ts";
const [kind, seed] = Deno.args;
const f = `/tmp/scratch/${kind}-${seed}`;
rmSync(f, { recursive: true, force: true });
mkdirSync(f, { recursive: true });
const job = await makeCase(kind, Number(seed), f);
if ("args" in job) {
  console.log(job.args.join(" "));
  if (Deno.args[2]) console.log(await main([...job.args, "--verbose"]));
} else if (Deno.args[2]) await job.run();
Deno.exit(0);
