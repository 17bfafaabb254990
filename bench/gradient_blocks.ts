/** Typical blocks of networks, whose gradient graphs are measured. */

import type { NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import { makeNode } from "../src/onnx/model.ts";

/** A block: nodes from x to y, with the shapes of all tensors. */
export class Block {
  readonly nodes: NodeProto[] = [];
  readonly shapes = new Map<string, readonly number[]>();
  readonly weights: string[] = [];
  readonly constants: Record<string, number[]> = {};
  /** Output of the last node. */
  last = "x";

  constructor(input: readonly number[]) {
    this.shapes.set("x", input);
  }

  node(op: string, inputs: string[], shape: readonly number[], attributes = {}): string {
    const name = `${op}${this.nodes.length}`;
    this.nodes.push(makeNode(op, name, inputs, [name], attributes));
    this.shapes.set(name, shape);
    return this.last = name;
  }

  weight(shape: readonly number[]): string {
    const name = `weight${this.weights.length}`;
    this.weights.push(name);
    this.shapes.set(name, shape);
    return name;
  }

  constant(values: number[]): string {
    const name = `list${Object.keys(this.constants).length}`;
    this.constants[name] = values;
    return name;
  }

  /** A convolution with bias. */
  conv(x: string, outputs: number, kernel: number, stride = 1, depthwise = false): string {
    const [n, c, h, w] = this.shapes.get(x)!, pad = BigInt((kernel - 1) / 2);
    const weight = this.weight([outputs, depthwise ? 1 : c, kernel, kernel]);
    const bias = this.weight([outputs]);
    const shape = [n, outputs, Math.ceil(h / stride), Math.ceil(w / stride)];
    return this.node("Conv", [x, weight, bias], shape, {
      strides: [BigInt(stride), BigInt(stride)],
      pads: [pad, pad, pad, pad],
      group: depthwise ? BigInt(c) : 1n,
    });
  }

  map(op: string, ...inputs: string[]): string {
    return this.node(op, inputs, this.shapes.get(inputs[0])!);
  }

  /** Through a grid of 4 bits with a learned step. */
  grid(x: string): string {
    for (const name of ["zero", "fifteen"]) this.shapes.set(name, []);
    const step = this.weight([]), whole = this.map("Round", this.map("Div", x, step));
    return this.map("Mul", this.map("Clip", whole, "zero", "fifteen"), step);
  }

  /** x · W + b over the last axis. */
  linear(x: string, outputs: number): string {
    const shape = this.shapes.get(x)!, weight = this.weight([shape.at(-1)!, outputs]);
    const product = this.node("MatMul", [x, weight], [...shape.slice(0, -1), outputs]);
    return this.map("Add", product, this.weight([outputs]));
  }
}

function residual(n: number, c: number, size: number): Block {
  const block = new Block([n, c, size, size]);
  const inner = block.conv(block.map("Relu", block.conv("x", c, 3)), c, 3);
  block.map("Relu", block.map("Add", inner, "x"));
  return block;
}

/** The same with 4-bit activations. */
function quantizedResidual(n: number, c: number, size: number): Block {
  const block = new Block([n, c, size, size]);
  const first = block.grid(block.map("Relu", block.conv(block.grid("x"), c, 3)));
  block.grid(block.map("Relu", block.map("Add", block.conv(first, c, 3), "x")));
  return block;
}

/** The first layers of a residual network. */
function stem(n: number, size: number): Block {
  const block = new Block([n, 3, size, size]);
  const relu = block.map("Relu", block.conv("x", 64, 7, 2));
  block.node("MaxPool", [relu], [n, 64, size / 4, size / 4], {
    kernel_shape: [3n, 3n],
    strides: [2n, 2n],
    pads: [1n, 1n, 1n, 1n],
  });
  return block;
}

function invertedResidual(n: number, c: number, size: number, wide: number, stride = 1): Block {
  const block = new Block([n, c, size, size]);
  for (const name of ["zero", "six"]) block.shapes.set(name, []);
  const clip = (x: string) => block.map("Clip", x, "zero", "six");
  const expanded = clip(block.conv("x", wide, 1));
  const narrow = block.conv(clip(block.conv(expanded, wide, 3, stride, true)), c, 1);
  if (stride === 1) block.map("Add", narrow, "x");
  return block;
}

function transformer(n: number, tokens: number, width: number, heads: number): Block {
  const block = new Block([n, tokens, width]), own = width / heads;
  const norm = (x: string) =>
    block.node(
      "LayerNormalization",
      [x, block.weight([width]), block.weight([width])],
      [n, tokens, width],
    );
  const normed = norm("x");
  const head = (order: bigint[], shape: number[]) => {
    const apart = block.node("Reshape", [
      block.linear(normed, width),
      block.constant([n, tokens, heads, own]),
    ], [n, tokens, heads, own]);
    return block.node("Transpose", [apart], shape, { perm: order });
  };
  const q = head([0n, 2n, 1n, 3n], [n, heads, tokens, own]);
  const k = head([0n, 2n, 3n, 1n], [n, heads, own, tokens]);
  const v = head([0n, 2n, 1n, 3n], [n, heads, tokens, own]);
  const scores = block.node("MatMul", [q, k], [n, heads, tokens, tokens]);
  block.shapes.set("scale", []);
  const weights = block.map("Softmax", block.map("Mul", scores, "scale"));
  const mixed = block.node("MatMul", [weights, v], [n, heads, tokens, own]);
  const together = block.node("Transpose", [mixed], [n, tokens, heads, own], {
    perm: [0n, 2n, 1n, 3n],
  });
  const joined = block.node(
    "Reshape",
    [together, block.constant([n, tokens, width])],
    [n, tokens, width],
  );
  const attended = block.map("Add", block.linear(joined, width), "x");
  const inner = block.linear(norm(attended), 4 * width);
  block.shapes.set("root", []);
  block.shapes.set("one", []);
  block.shapes.set("half", []);
  const erf = block.map("Erf", block.map("Mul", inner, "root"));
  const gelu = block.map(
    "Mul",
    block.map("Mul", inner, "half"),
    block.map("Add", erf, "one"),
  );
  block.map("Add", block.linear(gelu, width), attended);
  return block;
}

/** Every block by its name. */
export const BLOCKS: Readonly<Record<string, () => Block>> = {
  "residual 32×16×32²": () => residual(32, 16, 32),
  "residual 32×32×16²": () => residual(32, 32, 16),
  "residual 32×64×8²": () => residual(32, 64, 8),
  "residual 4×64×56²": () => residual(4, 64, 56),
  "residual 8×256×14²": () => residual(8, 256, 14),
  "residual 32×32×16², 4 bits": () => quantizedResidual(32, 32, 16),
  "residual 4×64×56², 4 bits": () => quantizedResidual(4, 64, 56),
  "stem 4×3×224²": () => stem(4, 224),
  "inverted 2×16×112² × 96 / 2": () => invertedResidual(2, 16, 112, 96, 2),
  "inverted 4×24×56² × 144": () => invertedResidual(4, 24, 56, 144),
  "inverted 8×32×28² × 192": () => invertedResidual(8, 32, 28, 192),
  "inverted 16×64×14² × 384": () => invertedResidual(16, 64, 14, 384),
  "inverted 32×160×7² × 960": () => invertedResidual(32, 160, 7, 960),
  "transformer 4×196×192, 3 heads": () => transformer(4, 196, 192, 3),
  "transformer 8×128×256, 4 heads": () => transformer(8, 128, 256, 4),
};
