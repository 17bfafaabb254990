/**
 * The command line of attune, which runs when this is loaded: `deno run -A cli.ts model.onnx --data
 * ./images -o model.q.onnx` quantizes, and `evaluate`, `inspect` and `cut` are named first.
 *
 * @module
 */

import process from "node:process";
import { main } from "./src/cli/cli.ts";

process.exit(await main(process.argv.slice(2)));
