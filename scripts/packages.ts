/**
 * Packages of the versions that deno.json says, in a folder for tools that look for them there.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What scripts of pages import. */
export const PAGE_PACKAGES: readonly string[] = [
  "@assemblyscript/loader",
  "@bufbuild/protobuf",
  "@zip.js/zip.js",
  "onnxruntime-web",
];

/** Puts `names` into `folder`, from Deno's own cache; returns the folder that they lie in. */
export async function installPackages(folder: string, names: readonly string[]): Promise<string> {
  const config = new URL("../deno.json", import.meta.url);
  const { imports } = JSON.parse(readFileSync(config, "utf8")) as {
    imports: Readonly<Record<string, string>>;
  };
  const dependencies = Object.fromEntries(names.map((name) => {
    const [, version] = /@(\d[^/]*)/.exec(imports[name] ?? imports[`${name}/`])!;
    return [name, version];
  }));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ dependencies }));
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--node-modules-dir=auto"],
    cwd: folder,
    stderr: "piped",
  }).output();
  if (code !== 0) {
    throw new Error(`Cannot install ${names.join(", ")}: ${new TextDecoder().decode(stderr)}`);
  }
  return join(folder, "node_modules");
}
