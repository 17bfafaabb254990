# The service in workerd: `workerd serve config.capnp`, beside what build.ts made.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "attune", worker = .attune)],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "attune")],
);

const attune :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "kernel.wasm", wasm = embed "kernel.wasm"),
    (name = "ort-wasm-simd-threaded.wasm", wasm = embed "ort-wasm-simd-threaded.wasm"),
  ],
  compatibilityDate = "2026-01-01",
  # A client that hangs up is heard of.
  compatibilityFlags = ["enable_request_signal"],
  bindings = [
    (name = "BYTES", text = "16000000"),
    (name = "JOBS", text = "2"),
    (name = "WAITING", text = "16"),
  ],
);
