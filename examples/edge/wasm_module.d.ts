/** A file of WebAssembly as workerd imports it: compiled. */
declare const module: WebAssembly.Module;
export default module;
