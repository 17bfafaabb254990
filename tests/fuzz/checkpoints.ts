/** Checkpoints that are damaged, and such as were changed by somebody who set the digest right. */

import { mutateBytes, ODD_TEXTS, type Random } from "./random.ts";

/** Bytes of the first line and of the digest. */
const LINE = 20, DIGEST = 32;

/** `bytes`, a checkpoint, changed. */
export async function mutateCheckpoint(random: Random, bytes: Uint8Array): Promise<Uint8Array> {
  if (random.chance(0.4)) return mutateBytes(random, bytes);
  const start = LINE + DIGEST + 4;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(start - 4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(start, start + length)));
  let arrays = bytes.subarray(start + length);
  if (random.chance(0.3)) arrays = mutateBytes(random, arrays);
  else mutateJson(random, header);
  const encoded = new TextEncoder().encode(JSON.stringify(header));
  const text = random.chance(0.1) ? mutateBytes(random, encoded) : encoded;
  const changed = new Uint8Array(start + text.length + arrays.length);
  changed.set(bytes.subarray(0, LINE));
  const said = random.chance(0.1) ? random.pick([0, 1, 2 ** 31, 2 ** 32 - 1]) : text.length;
  new DataView(changed.buffer).setUint32(start - 4, said, true);
  changed.set(text, start);
  changed.set(arrays, start + text.length);
  const content = changed.subarray(LINE + DIGEST);
  changed.set(new Uint8Array(await crypto.subtle.digest("SHA-256", content)), LINE);
  return changed;
}

const VALUES = [null, 0, 1, -1, 2.5, 7, 1e9, 2 ** 53, "", [], {}, true, ...ODD_TEXTS];

/** Changes a value somewhere in `json`, but what says which job it is. */
export function mutateJson(random: Random, json: Record<string, unknown>): void {
  let parent: Record<string, unknown> = json, key = "";
  for (;;) {
    const keys = Object.keys(parent).filter((each) => each !== "identity");
    key = random.pick(keys);
    const inner = parent[key];
    const leaf = typeof inner !== "object" || inner === null || Object.keys(inner).length === 0;
    if (leaf || random.chance(0.2)) break;
    parent = inner as Record<string, unknown>;
  }
  const remove = random.chance(0.2), repeat = random.chance(0.2);
  if (remove) delete parent[key];
  else if (repeat && Array.isArray(parent)) parent.push(parent[0]);
  else parent[key] = random.pick(VALUES);
}
