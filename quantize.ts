/**
 * The command line of attune by the name of its main command: `deno run -A quantize.ts model.onnx
 * --data ./images -o model.q.onnx`.
 *
 * @module
 */

import "./cli.ts";
