/** Runs programs as a user would, in processes of their own. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the repository. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

/** What a program said, and how it ended. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the command line with `args`. */
export async function attune(...args: string[]): Promise<Outcome> {
  return await run(Deno.execPath(), ["run", "-A", join(root, "quantize.ts"), ...args]);
}

/** Runs `program`, with `env` beside the variables that are there. */
export async function run(
  program: string,
  args: string[],
  cwd?: string,
  env: Record<string, string> = {},
): Promise<Outcome> {
  const output = await new Deno.Command(program, {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const [stdout, stderr] = [output.stdout, output.stderr].map((b) => new TextDecoder().decode(b));
  return { code: output.code, stdout, stderr };
}

/** Runs `work` in a folder of its own that is removed afterwards. */
export async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "attune-test-"));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
