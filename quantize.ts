/**
 * The command line of attune: `deno run -A quantize.ts model.onnx --data ./images -o model.q.onnx`.
 *
 * @module
 */

import process from "node:process";
import { main } from "./src/cli/cli.ts";

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
