/**
 * The data set: 32×32 RGB pictures of one of ten shapes, of any size and place, slightly turned, in
 * a light colour on a darker background, among clutter, with noise.
 *
 * @module
 */

/** Side of a picture, in pixels. */
export const side = 32;

/** A source of random numbers from 0 (included) to 1 (excluded). */
export type Random = () => number;

/** Creates a generator (mulberry32); the same seed gives the same numbers. */
export function createRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A normally distributed number (Box and Muller). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Whether a point is inside of a shape of radius about 1 around the origin, y downwards. */
type Shape = (x: number, y: number) => boolean;

const disc = (radius: number): Shape => (x, y) => x * x + y * y < radius * radius;

const arrow: [number, number][] = [
  [0, -1],
  [0.8, -0.1],
  [0.3, -0.1],
  [0.3, 1],
  [-0.3, 1],
  [-0.3, -0.1],
  [-0.8, -0.1],
];

const shapes: Record<string, Shape> = {
  arrow: polygon(arrow),
  crescent: (x, y) => disc(1)(x, y) && !disc(0.75)(x - 0.45, y),
  cross: (x, y) =>
    Math.min(Math.abs(x), Math.abs(y)) < 0.28 && Math.max(Math.abs(x), Math.abs(y)) < 1,
  disc: disc(0.9),
  heart: (x, y) => (1.3 * (x * x + y * y) - 1) ** 3 + 2.2 * x * x * y ** 3 < 0,
  pentagon: polygon(corners(5, 1)),
  ring: (x, y) => disc(1)(x, y) && !disc(0.55)(x, y),
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.8,
  star: polygon(corners(5, 0.45)),
  triangle: polygon(corners(3, 1)),
};

/** The names of the classes, sorted; a class is its position here. */
export const classes: readonly string[] = Object.keys(shapes);

/** Corners of a regular `n`-gon (`inner` = 1) or an `n`-pointed star with that inner radius. */
function corners(n: number, inner: number): [number, number][] {
  const count = inner === 1 ? n : 2 * n;
  return Array.from({ length: count }, (_, i) => {
    const angle = 2 * Math.PI * i / count;
    const radius = i % 2 === 1 ? inner : 1;
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
}

/** A point is inside if a ray from it crosses the outline an odd number of times. */
function polygon(outline: [number, number][]): Shape {
  return (x, y) => {
    let inside = false;
    for (const [i, [ax, ay]] of outline.entries()) {
      const [bx, by] = outline[(i + 1) % outline.length];
      if ((ay > y) !== (by > y) && x < ax + (bx - ax) * (y - ay) / (by - ay)) inside = !inside;
    }
    return inside;
  };
}

/** Draws a picture of class `label`: `side`×`side` RGB pixels. */
export function draw(label: number, random: Random): Uint8Array {
  const between = (low: number, high: number) => low + (high - low) * random();
  const colour = (low: number, high: number) => [0, 1, 2].map(() => between(low, high));
  const [from, to] = [colour(0, 130), colour(0, 130)];
  const slope = between(0, 2 * Math.PI);
  const picture = new Float32Array(side * side * 3);
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const t = 0.5 +
        0.35 * ((x / side - 0.5) * Math.cos(slope) + (y / side - 0.5) * Math.sin(slope));
      for (let c = 0; c < 3; c++) picture[at++] = from[c] + (to[c] - from[c]) * t;
    }
  }

  const spot = () => ({
    x: between(0, side),
    y: between(0, side),
    radius: between(1, 4),
    angle: 0,
  });
  const stroke = () => ({ ...spot(), radius: between(4, 14), angle: between(0, Math.PI) });
  const line: Shape = (x, y) => Math.abs(x) < 1 && Math.abs(y) < 0.09;
  for (let i = 0; i < 2; i++) paint(picture, disc(1), spot(), colour(40, 200));
  paint(picture, line, stroke(), colour(40, 200));

  const radius = between(7, 12);
  const place = () => between(radius * 0.9, side - radius * 0.9);
  const pose = { x: place(), y: place(), radius, angle: between(-0.5, 0.5) };
  paint(picture, shapes[classes[label]], pose, colour(110, 255));
  paint(picture, line, stroke(), colour(40, 200));

  const noise = between(3, 16);
  return Uint8Array.from(
    picture,
    (v) => Math.max(0, Math.min(255, Math.round(v + noise * normal(random)))),
  );
}

/** Paints a shape over the picture, each pixel by the share of four points that are inside. */
function paint(
  picture: Float32Array,
  shape: Shape,
  pose: { x: number; y: number; radius: number; angle: number },
  colour: readonly number[],
): void {
  const cos = Math.cos(pose.angle) / pose.radius;
  const sin = Math.sin(pose.angle) / pose.radius;
  for (let at = 0; at < side * side; at++) {
    const x = at % side - pose.x;
    const y = Math.floor(at / side) - pose.y;
    if (!disc(1.4 * pose.radius + 1)(x, y)) continue; // no shape reaches that far
    let share = 0;
    for (const [fx, fy] of [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]) {
      const [dx, dy] = [x + fx, y + fy];
      if (shape(dx * cos + dy * sin, dy * cos - dx * sin)) share += 0.25;
    }
    for (let c = 0; c < 3; c++) picture[at * 3 + c] += share * (colour[c] - picture[at * 3 + c]);
  }
}
