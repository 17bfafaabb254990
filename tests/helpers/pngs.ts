/** Images without loss, which every decoder gives the same pixels of. */

import { mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp from "sharp";

/** Draws the first `count` images of each of `folders` in `from` as PNGs into `to`. */
export async function drawPngs(
  from: string,
  to: string,
  count: number,
  folders: readonly string[] = readdirSync(from),
): Promise<void> {
  for (const folder of folders) {
    const names = readdirSync(join(from, folder)).filter((name) => /\.(jpg|webp)$/.test(name));
    for (const name of names.sort().slice(0, count)) {
      const path = join(to, folder, name.replace(/\.\w+$/, ".png"));
      mkdirSync(dirname(path), { recursive: true });
      await sharp(join(from, folder, name)).png().toFile(path);
    }
  }
}
