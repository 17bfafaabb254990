/**
 * A minimal convolutional network with its gradients. Activations are batch×height×width×channels,
 * so that a convolution is one product of matrices: patches (positions × inputs) times weights
 * (outputs × inputs), transposed.
 *
 * @module
 */

import { normal, type Random } from "./draw.ts";

/** A batch of activations, channels last. */
export interface Activation {
  readonly data: Float32Array;
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
}

/** A learned array with its gradient and Adam's moments. */
export class Parameter {
  readonly gradient: Float32Array;
  readonly #mean: Float32Array;
  readonly #square: Float32Array;

  constructor(readonly value: Float32Array) {
    this.gradient = new Float32Array(value.length);
    this.#mean = new Float32Array(value.length);
    this.#square = new Float32Array(value.length);
  }

  /** Step number `t` (from 1) of Adam [Kingma, Ba 2014]. */
  step(t: number, rate: number): void {
    const scale = rate * Math.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t);
    for (let i = 0; i < this.value.length; i++) {
      const g = this.gradient[i];
      this.#mean[i] += 0.1 * (g - this.#mean[i]);
      this.#square[i] += 0.001 * (g * g - this.#square[i]);
      this.value[i] -= scale * this.#mean[i] / (Math.sqrt(this.#square[i]) + 1e-8);
    }
  }
}

/** A layer; `backward` follows the `forward` whose gradient it takes. */
export interface Layer {
  readonly parameters: readonly Parameter[];
  forward(x: Activation): Activation;
  backward(gradient: Float32Array): Float32Array;
}

/** A (m×k) times B (n×k) transposed gives m×n, in blocks of 4×2 dot products where they fit. */
function multiply(a: Float32Array, b: Float32Array, m: number, n: number, k: number): Float32Array {
  const result = new Float32Array(m * n);
  const [evenM, evenN] = [m - m % 4, n - n % 2];
  for (let i = 0; i < evenM; i += 4) {
    for (let j = 0; j < evenN; j += 2) {
      let r0 = 0, r1 = 0, s0 = 0, s1 = 0, t0 = 0, t1 = 0, u0 = 0, u1 = 0;
      for (let p = i * k, q = j * k, end = p + k; p < end; p++, q++) {
        const b0 = b[q], b1 = b[q + k];
        const r = a[p], s = a[p + k], t = a[p + 2 * k], u = a[p + 3 * k];
        r0 += r * b0, r1 += r * b1;
        s0 += s * b0, s1 += s * b1;
        t0 += t * b0, t1 += t * b1;
        u0 += u * b0, u1 += u * b1;
      }
      const at = i * n + j;
      result[at] = r0, result[at + 1] = r1;
      result[at + n] = s0, result[at + n + 1] = s1;
      result[at + 2 * n] = t0, result[at + 2 * n + 1] = t1;
      result[at + 3 * n] = u0, result[at + 3 * n + 1] = u1;
    }
  }
  for (let i = 0; i < m; i++) {
    for (let j = i < evenM ? evenN : 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[i * k + p] * b[j * k + p];
      result[i * n + j] = sum;
    }
  }
  return result;
}

function transpose(a: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(a.length);
  for (let i = 0; i < rows; i += 16) {
    for (let j = 0; j < columns; j++) {
      for (let r = i; r < Math.min(i + 16, rows); r++) result[j * rows + r] = a[r * columns + j];
    }
  }
  return result;
}

/** Calls `visit` for each position of the output, each kernel tap and the input it falls on. */
function forEachTap(
  x: Activation,
  kernel: number,
  stride: number,
  visit: (output: number, tap: number, input: number) => void,
): void {
  const pad = (kernel - 1) / 2;
  let output = 0;
  for (let n = 0; n < x.n; n++) {
    for (let top = -pad; top < x.h - pad; top += stride) {
      for (let left = -pad; left < x.w - pad; left += stride, output++) {
        for (let tap = 0; tap < kernel * kernel; tap++) {
          const row = top + Math.floor(tap / kernel);
          const column = left + tap % kernel;
          if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
          visit(output, tap, ((n * x.h + row) * x.w + column) * x.c);
        }
      }
    }
  }
}

function initial(size: number, fanIn: number, random: Random): Parameter {
  return new Parameter(
    Float32Array.from({ length: size }, () => normal(random) * Math.sqrt(2 / fanIn)),
  );
}

/**
 * Convolution without bias, padded so that stride 1 keeps the size; weights are outputs × taps ×
 * inputs.
 */
export class Conv implements Layer {
  readonly weight: Parameter;
  readonly parameters: readonly Parameter[];
  #input!: Activation;
  #patches!: Float32Array;

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    readonly kernel: number,
    readonly stride: number,
    random: Random,
  ) {
    const size = kernel * kernel * inputs;
    this.weight = initial(outputs * size, size, random);
    this.parameters = [this.weight];
  }

  forward(x: Activation): Activation {
    const size = this.kernel * this.kernel * this.inputs;
    const [h, w] = [x.h / this.stride, x.w / this.stride];
    const patches = this.kernel === 1 ? x.data : new Float32Array(x.n * h * w * size);
    if (this.kernel > 1) {
      forEachTap(x, this.kernel, this.stride, (output, tap, from) => {
        const to = output * size + tap * x.c;
        for (let c = 0; c < x.c; c++) patches[to + c] = x.data[from + c];
      });
    }
    this.#input = x;
    this.#patches = patches;
    const data = multiply(patches, this.weight.value, x.n * h * w, this.outputs, size);
    return { data, n: x.n, h, w, c: this.outputs };
  }

  backward(gradient: Float32Array): Float32Array {
    const { inputs, outputs, kernel, stride } = this;
    const size = kernel * kernel * inputs;
    const positions = gradient.length / outputs;
    const byOutput = transpose(gradient, positions, outputs);
    const byInput = transpose(this.#patches, positions, size);
    this.weight.gradient.set(multiply(byOutput, byInput, outputs, size, positions));
    const weight = transpose(this.weight.value, outputs, size);
    const patches = multiply(gradient, weight, positions, size, outputs);
    if (kernel === 1) return patches;
    const result = new Float32Array(this.#input.data.length);
    forEachTap(this.#input, kernel, stride, (output, tap, to) => {
      const from = output * size + tap * inputs;
      for (let c = 0; c < inputs; c++) result[to + c] += patches[from + c];
    });
    return result;
  }
}

/** Depthwise 3×3 convolution without bias; weights are taps × channels. */
export class Depthwise implements Layer {
  readonly kernel = 3;
  readonly weight: Parameter;
  readonly parameters: readonly Parameter[];
  #input!: Activation;

  constructor(readonly channels: number, readonly stride: number, random: Random) {
    this.weight = initial(9 * channels, 9, random);
    this.parameters = [this.weight];
  }

  forward(x: Activation): Activation {
    const [h, w] = [x.h / this.stride, x.w / this.stride];
    const data = new Float32Array(x.n * h * w * x.c);
    const weight = this.weight.value;
    this.#input = x;
    forEachTap(x, 3, this.stride, (output, tap, from) => {
      for (let c = 0; c < x.c; c++) {
        data[output * x.c + c] += weight[tap * x.c + c] * x.data[from + c];
      }
    });
    return { data, n: x.n, h, w, c: x.c };
  }

  backward(gradient: Float32Array): Float32Array {
    const { data, c: channels } = this.#input;
    const { value, gradient: weightGradient } = this.weight;
    const result = new Float32Array(data.length);
    weightGradient.fill(0);
    forEachTap(this.#input, 3, this.stride, (output, tap, at) => {
      for (let c = 0; c < channels; c++) {
        const g = gradient[output * channels + c];
        weightGradient[tap * channels + c] += g * data[at + c];
        result[at + c] += g * value[tap * channels + c];
      }
    });
    return result;
  }
}

/** Batch normalization; in training by the statistics of the batch, which `running…` follow. */
export class BatchNorm implements Layer {
  readonly epsilon = 1e-5;
  readonly scale: Parameter;
  readonly shift: Parameter;
  readonly runningMean: Float32Array;
  readonly runningVariance: Float32Array;
  readonly parameters: readonly Parameter[];
  #normalized!: Float32Array;
  #inverse!: Float32Array;

  constructor(readonly channels: number) {
    this.scale = new Parameter(new Float32Array(channels).fill(1));
    this.shift = new Parameter(new Float32Array(channels));
    this.runningMean = new Float32Array(channels);
    this.runningVariance = new Float32Array(channels).fill(1);
    this.parameters = [this.scale, this.shift];
  }

  forward(x: Activation): Activation {
    const channels = this.channels;
    const count = x.data.length / channels;
    const mean = new Float64Array(channels);
    const variance = new Float64Array(channels);
    for (let i = 0; i < x.data.length; i++) mean[i % channels] += x.data[i] / count;
    for (let i = 0; i < x.data.length; i++) {
      variance[i % channels] += (x.data[i] - mean[i % channels]) ** 2 / count;
    }
    this.#inverse = Float32Array.from(variance, (v) => 1 / Math.sqrt(v + this.epsilon));
    this.#normalized = new Float32Array(x.data.length);
    const data = new Float32Array(x.data.length);
    for (let i = 0; i < data.length; i++) {
      const c = i % channels;
      this.#normalized[i] = (x.data[i] - mean[c]) * this.#inverse[c];
      data[i] = this.#normalized[i] * this.scale.value[c] + this.shift.value[c];
    }
    for (let c = 0; c < channels; c++) {
      this.runningMean[c] += 0.05 * (mean[c] - this.runningMean[c]);
      this.runningVariance[c] += 0.05 * (variance[c] - this.runningVariance[c]);
    }
    return { ...x, data };
  }

  backward(gradient: Float32Array): Float32Array {
    const channels = this.channels;
    const count = gradient.length / channels;
    const [scale, shift] = [this.scale.gradient.fill(0), this.shift.gradient.fill(0)];
    for (let i = 0; i < gradient.length; i++) {
      scale[i % channels] += gradient[i] * this.#normalized[i];
      shift[i % channels] += gradient[i];
    }
    return gradient.map((g, i) => {
      const c = i % channels;
      const centred = g - (shift[c] + this.#normalized[i] * scale[c]) / count;
      return this.scale.value[c] * this.#inverse[c] * centred;
    });
  }
}

/** Keeps what is positive. */
export class Relu implements Layer {
  readonly parameters: readonly Parameter[] = [];
  #output!: Float32Array;

  forward(x: Activation): Activation {
    this.#output = x.data.map((v) => v > 0 ? v : 0);
    return { ...x, data: this.#output };
  }

  backward(gradient: Float32Array): Float32Array {
    return gradient.map((g, i) => this.#output[i] > 0 ? g : 0);
  }
}

/** The input plus what the layers make of it. */
export class Residual implements Layer {
  readonly parameters: readonly Parameter[];

  constructor(readonly layers: readonly Layer[]) {
    this.parameters = layers.flatMap((layer) => layer.parameters);
  }

  forward(x: Activation): Activation {
    const y = this.layers.reduce((value, layer) => layer.forward(value), x);
    return { ...x, data: y.data.map((v, i) => v + x.data[i]) };
  }

  backward(gradient: Float32Array): Float32Array {
    const inner = this.layers.reduceRight((g, layer) => layer.backward(g), gradient);
    return inner.map((g, i) => g + gradient[i]);
  }
}

/** The mean over height and width. */
export class GlobalPool implements Layer {
  readonly parameters: readonly Parameter[] = [];
  #input!: Activation;

  forward(x: Activation): Activation {
    this.#input = x;
    const area = x.h * x.w;
    const data = new Float32Array(x.n * x.c);
    for (let i = 0; i < x.data.length; i++) {
      data[Math.floor(i / (area * x.c)) * x.c + i % x.c] += x.data[i] / area;
    }
    return { data, n: x.n, h: 1, w: 1, c: x.c };
  }

  backward(gradient: Float32Array): Float32Array {
    const { data, h, w, c } = this.#input;
    return data.map((_, i) => gradient[Math.floor(i / (h * w * c)) * c + i % c] / (h * w));
  }
}

/** A 1×1 convolution with bias on one position: outputs × inputs. */
export class Dense implements Layer {
  readonly bias: Parameter;
  readonly parameters: readonly Parameter[];
  readonly #conv: Conv;

  constructor(readonly inputs: number, readonly outputs: number, random: Random) {
    this.#conv = new Conv(inputs, outputs, 1, 1, random);
    this.bias = new Parameter(new Float32Array(outputs));
    this.parameters = [this.weight, this.bias];
  }

  get weight(): Parameter {
    return this.#conv.weight;
  }

  forward(x: Activation): Activation {
    const y = this.#conv.forward(x);
    return { ...y, data: y.data.map((v, i) => v + this.bias.value[i % this.outputs]) };
  }

  backward(gradient: Float32Array): Float32Array {
    this.bias.gradient.fill(0);
    gradient.forEach((g, i) => this.bias.gradient[i % this.outputs] += g);
    return this.#conv.backward(gradient);
  }
}
