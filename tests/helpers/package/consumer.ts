// What a program in TypeScript makes of the package: compiled, and then run by Node.
import {
  AttuneError,
  type OnProgress,
  type Plan,
  plan,
  quantize,
  type Quantized,
  readModel,
  type Report,
  type Sample,
  serializeModel,
  startPool,
} from "attune";

const [path] = process.argv.slice(2);
const made: Plan = plan(readModel(path!), { bits: 4, activationBits: "none" });

async function* samples(): AsyncGenerator<Sample> {
  for (let i = 0; i < 8; i++) {
    const data = Float32Array.from({ length: 3 * 32 * 32 }, (_, k) => Math.sin(i + k));
    yield { inputs: { image: { dims: [3, 32, 32], data } }, source: `wave ${i}` };
  }
}

const pool = await startPool({ threads: 1 });
const onProgress: OnProgress = ({ stage, done }) => void `${stage} ${done}`;
const { model, report }: Quantized = await quantize(made, samples(), pool, {
  rounding: { kind: "nearest" },
  onProgress,
});
pool.dispose();
const layers: Report["layers"] = report.layers;
const file = new Blob([serializeModel(model)]);
console.log(JSON.stringify({ layers: layers.length, bytes: file.size, error: typeof AttuneError }));
