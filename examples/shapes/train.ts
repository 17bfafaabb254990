/**
 * The classifier of the shapes, and its training.
 *
 * @module
 */

import { classes, createRandom, type Random } from "./draw.ts";
import { BatchNorm, Conv, Dense, Depthwise, GlobalPool, type Layer } from "./network.ts";
import { type Activation, Relu, Residual } from "./network.ts";

/** Pictures as the network takes them, with their classes. */
export interface Batch {
  readonly images: Activation;
  readonly labels: readonly number[];
}

/** Two residual blocks between two depthwise separable convolutions; about 100,000 weights. */
export function createNetwork(random: Random): Layer[] {
  const unit = (
    conv: Conv | Depthwise,
    channels: number,
  ) => [conv, new BatchNorm(channels), new Relu()];
  const separable = (inputs: number, outputs: number) => [
    ...unit(new Depthwise(inputs, 2, random), inputs),
    ...unit(new Conv(inputs, outputs, 1, 1, random), outputs),
  ];
  const residual = (channels: number) => [
    new Residual([
      ...unit(new Conv(channels, channels, 3, 1, random), channels),
      new Conv(channels, channels, 3, 1, random),
      new BatchNorm(channels),
    ]),
    new Relu(),
  ];
  return [
    ...unit(new Conv(3, 16, 3, 2, random), 16),
    ...separable(16, 32),
    ...residual(32),
    ...separable(32, 64),
    ...residual(64),
    new GlobalPool(),
    new Dense(64, classes.length, random),
  ];
}

/**
 * Trains a network on `steps` batches, each seen once, with Adam; the rate falls along a cosine.
 * `report` is called after each step with the mean loss (cross-entropy, in nats) of its batch.
 */
export async function train(
  steps: number,
  seed: number,
  nextBatch: () => Promise<Batch>,
  report: (step: number, loss: number) => void,
): Promise<Layer[]> {
  const network = createNetwork(createRandom(seed));
  const parameters = network.flatMap((layer) => layer.parameters);
  for (let step = 1; step <= steps; step++) {
    const { images, labels } = await nextBatch();
    const logits = network.reduce((value, layer) => layer.forward(value), images);
    const { loss, gradient } = crossEntropy(logits.data, labels);
    network.reduceRight((g, layer) => layer.backward(g), gradient);
    const rate = 0.003 * 0.5 * (1 + Math.cos(Math.PI * (step - 1) / steps));
    for (const parameter of parameters) parameter.step(step, rate);
    report(step, loss);
  }
  return network;
}

/** Mean cross-entropy of softmax(logits), batch×classes, and its gradient. */
function crossEntropy(
  logits: Float32Array,
  labels: readonly number[],
): { loss: number; gradient: Float32Array } {
  const count = classes.length;
  const gradient = new Float32Array(logits.length);
  let loss = 0;
  for (const [n, label] of labels.entries()) {
    const row = logits.subarray(n * count, (n + 1) * count);
    const highest = Math.max(...row);
    const exponentials = Array.from(row, (v) => Math.exp(v - highest));
    const sum = exponentials.reduce((a, b) => a + b, 0);
    exponentials.forEach((e, c) => {
      gradient[n * count + c] = (e / sum - (c === label ? 1 : 0)) / labels.length;
    });
    loss -= Math.log(exponentials[label] / sum) / labels.length;
  }
  return { loss, gradient };
}
