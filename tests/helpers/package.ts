/** The package as users get it: packed, and installed in a folder that has nothing else. */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPackage, npm } from "../../scripts/npm.ts";

/** The package, built and packed, in a folder for projects that use it. */
export class Packed implements Disposable {
  /** The folder. */
  readonly folder: string = mkdtempSync(join(tmpdir(), "attune-package-"));
  /** The path of the tarball. */
  readonly tarball: string;
  /** The files in it, by their paths in the package, with their bytes. */
  readonly files: ReadonlyMap<string, number>;

  constructor() {
    const built = join(this.folder, "built");
    buildPackage(built);
    const [{ filename, files }] = JSON.parse(npm(["pack", "--json", built], this.folder));
    this.tarball = join(this.folder, filename);
    this.files = new Map(
      files.map(({ path, size }: { path: string; size: number }) => [path, size]),
    );
  }

  /** An empty project with the package, and with `others` by their versions, installed. */
  project(name: string, others: Readonly<Record<string, string>> = {}): string {
    const folder = join(this.folder, name);
    const dependencies = { attune: `file:${this.tarball}`, ...others };
    const manifest = { name, private: true, type: "module", dependencies };
    Deno.mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    npm(["install", "--no-audit", "--no-fund", "--loglevel=error"], folder);
    return folder;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** All files below `folder`, by their paths with slashes. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/")).sort();
}
