// What the module exports. All pointers are byte addresses of float32 data; sizes are in elements.

export { adam } from "./adam";
export { adaroundForward, adaroundStep } from "./adaround";
export { attentionForward, attentionStep } from "./block";
export { cholesky, logDet, solve } from "./cholesky";
export { codesBytes, codesPolish, codesSequential } from "./codes";
export { tridiagonal } from "./coding";
export { erf } from "./erf";
export { levelProbabilities, normals, sampleLevels } from "./gaussian";
export { gemm } from "./gemm";
export { cross, gram, mirror } from "./gram";
export { adaroundLoop, attentionLoop } from "./gradient";
export { polish, polishBytes, sequential, sequentialBytes } from "./lattice";
export { heapStart } from "./memory";
export { histogram, minmax } from "./observe";
export { dequantize, pack, quantize, unpack } from "./pack";
export { gridSearch, nearestLevels, refit, stochasticLevels } from "./scale";
export { transpose } from "./vector";
