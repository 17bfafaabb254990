// What the module exports: what the library calls, and nothing else. All pointers are byte
// addresses of float32 data; sizes are in elements.

export { adam } from "./adam";
export { adaroundForward, adaroundStep } from "./adaround";
export { adaroundLoop } from "./adaround_loop";
export { attentionForward, attentionStep } from "./attention";
export { attentionLoop } from "./attention_loop";
export { cholesky, solve } from "./cholesky";
export { codesBytes, codesPolish, codesSequential } from "./codebooks";
export { cross, gram, mirror } from "./gram";
export { sequential, sequentialBytes } from "./lattice";
export { nearestLevels, stochasticLevels } from "./levels";
export { heapStart } from "./memory";
export { channelSums, minmax } from "./observe";
export { polish, polishBytes } from "./polish";
export { gridSearch, refit } from "./scales";
export { tridiagonal } from "./tridiagonal";
export { transpose } from "./vector";
