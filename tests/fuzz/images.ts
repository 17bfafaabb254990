/** Images whose headers, sizes, chunks or ends are not what they should be. */

import { crc32 } from "node:zlib";
import sharp from "sharp";
import { mutateBytes, type Random } from "./random.ts";

/** The kinds of image that are read. */
export const KINDS = ["png", "jpeg", "webp"] as const;
/** A kind of image. */
export type ImageKind = (typeof KINDS)[number];

/** A small picture of noise. */
export async function picture(kind: ImageKind, seed: number): Promise<Uint8Array> {
  const [width, height] = [8 + seed % 5, 8 + seed % 3];
  const pixels = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37 + seed) & 255);
  return await sharp(pixels, { raw: { width, height, channels: 3 } })[kind]().toBuffer();
}

const SIDES = [0, 1, 7, 8, 9, 255, 10_000, 16_000, 0x4000, 0xffff, 0x7fffffff, 0xffffffff];

/** `bytes`, an image of `kind`, changed. */
export function mutateImage(random: Random, kind: ImageKind, bytes: Uint8Array): Uint8Array {
  const image = Uint8Array.from(bytes);
  const view = new DataView(image.buffer);
  return random.do([
    () => mutateBytes(random, image),
    () => image.subarray(0, random.below(image.length)),
    () => {
      for (let i = random.pick([1, 1, 2]); i > 0; i--) HEADERS[kind](random, view, image);
      return image;
    },
    () => {
      HEADERS[kind](random, view, image);
      return image;
    },
  ]);
}

const HEADERS: Record<ImageKind, (random: Random, view: DataView, image: Uint8Array) => void> = {
  // Width, height, depth, colours, compression, filter, interlacing; then the checksum set right.
  png(random, view, image) {
    random.do<unknown>([
      () => view.setUint32(16, random.pick(SIDES)),
      () => view.setUint32(20, random.pick(SIDES)),
      () => view.setUint8(24, random.pick([0, 1, 2, 4, 8, 16, 32])),
      () => view.setUint8(25, random.below(8)),
      () => view.setUint8(26 + random.below(3), random.below(3)),
      () => view.setUint32(33, random.pick(SIDES)),
      () => image.set(new TextEncoder().encode(random.pick(["IEND", "PLTE", "iCCP", "eXIf"])), 37),
    ]);
    if (random.chance(0.9)) view.setUint32(29, crc32(image.subarray(12, 29)));
  },
  // The frame's depth, sizes and components; or the length of a segment.
  jpeg(random, view) {
    const markers: number[] = [];
    for (let at = 2; at + 4 < view.byteLength && view.getUint8(at) === 0xff;) {
      markers.push(at);
      at += 2 + view.getUint16(at + 2);
    }
    const frame = markers.find((at) => [0xc0, 0xc2].includes(view.getUint8(at + 1)))!;
    random.do<unknown>([
      () => view.setUint8(frame + 4, random.pick([0, 1, 8, 12, 16])),
      () => view.setUint16(frame + 5, random.pick(SIDES) & 0xffff),
      () => view.setUint16(frame + 7, random.pick(SIDES) & 0xffff),
      () => view.setUint8(frame + 9, random.below(6)),
      () => view.setUint8(frame + 10 + random.below(9), random.below(256)),
      () => view.setUint16(random.pick(markers) + 2, random.pick(SIDES) & 0xffff),
      () => view.setUint8(random.pick(markers) + 1, random.below(256)),
    ]);
  },
  // Sizes of the file and of the chunk, the chunk's kind, and the picture's sizes.
  webp(random, view, image) {
    random.do<unknown>([
      () => view.setUint32(4, random.pick(SIDES), true),
      () => view.setUint32(16, random.pick(SIDES), true),
      () => image.set(new TextEncoder().encode(random.pick(["VP8 ", "VP8L", "VP8X", "ANIM"])), 12),
      () => view.setUint16(26, random.pick(SIDES) & 0xffff, true),
      () => view.setUint16(28, random.pick(SIDES) & 0xffff, true),
    ]);
  },
};
