/**
 * A job in the origin's private file system: what it was asked for and how far it came, so that a
 * page that was reloaded goes on with it and ends with the same bytes. Only workers can do that.
 *
 * @module
 */

import type { CheckpointStore } from "../src/calibrate/checkpoint.ts";
import type { JobOptions, NamedFile, SavedJob } from "./messages.ts";

/** A file that a worker reads and writes without waiting. */
interface SyncFile {
  read(bytes: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/** All that a job is made of. */
export interface JobFiles {
  /** The model, with its file name. */
  readonly model: NamedFile;
  /** What it is calibrated on. */
  readonly samples: readonly NamedFile[];
  /** What it is judged by, where that is something else. */
  readonly judged: readonly NamedFile[];
  /** How it is asked for. */
  readonly options: JobOptions;
}

/** A file by its path, with its length. */
type Entry = readonly [path: string, size: number];

/** The same as JSON; files follow one another in one, since many small ones take long. */
interface Manifest {
  readonly model: string;
  readonly modelSize: number;
  readonly samples: readonly Entry[];
  readonly judged: readonly Entry[];
  readonly options: JobOptions;
  readonly began: number;
}

const FOLDER = "attune-job",
  MANIFEST = "job.json",
  FILES = "files",
  SLOTS = ["state-0", "state-1"] as const;
/** Bytes before the state in a slot: which of the two is newer, and how long it is. */
const HEADER = 16;

/** The folder of the job. */
async function folderOf(create: { create: boolean }): Promise<FileSystemDirectoryHandle> {
  return await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, create);
}

async function write(folder: FileSystemDirectoryHandle, name: string, content: Blob) {
  const file = await folder.getFileHandle(name, { create: true });
  const stream = await file.createWritable();
  await content.stream().pipeTo(stream);
}

async function read(folder: FileSystemDirectoryHandle, name: string): Promise<File> {
  return await (await folder.getFileHandle(name)).getFile();
}

/** Keeps `files`, in place of a job that was kept before. */
export async function saveJob({ model, samples, judged, options }: JobFiles): Promise<void> {
  await discardJob();
  const folder = await folderOf({ create: true });
  const all = [model, ...samples, ...judged];
  await write(folder, FILES, new Blob(all.map(({ file }) => file)));
  const entry = ({ path, file }: NamedFile): Entry => [path, file.size];
  const manifest: Manifest = {
    model: model.path,
    modelSize: model.file.size,
    samples: samples.map(entry),
    judged: judged.map(entry),
    options,
    began: Date.now(),
  };
  // The last: what lacks it is no job.
  await write(folder, MANIFEST, new Blob([JSON.stringify(manifest)]));
}

/** The job that is kept, if there is one. */
export async function savedJob(): Promise<SavedJob | undefined> {
  const manifest = await manifestOf();
  return manifest && {
    model: manifest.model,
    files: manifest.samples.length,
    began: manifest.began,
    options: manifest.options,
  };
}

async function manifestOf(): Promise<Manifest | undefined> {
  try {
    const folder = await folderOf({ create: false });
    return JSON.parse(await (await read(folder, MANIFEST)).text());
  } catch {
    return undefined;
  }
}

/** What the job that is kept is made of. */
export async function loadJob(): Promise<JobFiles> {
  const { model, modelSize, samples, judged, options } = (await manifestOf())!;
  // In memory: a discarded job takes its files with it.
  const bytes = await (await read(await folderOf({ create: false }), FILES)).arrayBuffer();
  let at = 0;
  const next = ([path, size]: Entry): NamedFile => ({
    path,
    file: new Blob([bytes.slice(at, at += size)]),
  });
  return {
    model: next([model, modelSize]),
    samples: samples.map(next),
    judged: judged.map(next),
    options,
  };
}

/** Forgets the job that is kept. */
export async function discardJob(): Promise<void> {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(FOLDER, { recursive: true }).catch(() => {});
}

/** The state of the job that is kept; close it once the job is done. */
export interface SavedState extends CheckpointStore {
  /** Lets others have the files. */
  close(): void;
}

/**
 * Opens the state of the job that is kept. A page may be closed in the middle of writing, so the
 * two slots take turns: the older one stays whole until the newer one is.
 */
export async function openState(): Promise<SavedState> {
  const folder = await folderOf({ create: true });
  const open = async (name: string) => {
    const handle = await folder.getFileHandle(name, { create: true }) as unknown as {
      createSyncAccessHandle(): Promise<SyncFile>;
    };
    return await handle.createSyncAccessHandle();
  };
  const slots = [await open(SLOTS[0]), await open(SLOTS[1])];
  const headerOf = (slot: SyncFile): [number: number, length: number] => {
    const header = new Float64Array(2);
    slot.read(new Uint8Array(header.buffer), { at: 0 });
    return [header[0], header[1]];
  };
  const setHeader = (slot: SyncFile, number: number, length: number) => {
    slot.write(new Uint8Array(Float64Array.of(number, length).buffer), { at: 0 });
    slot.flush();
  };
  const newest = () => headerOf(slots[0])[0] >= headerOf(slots[1])[0] ? 0 : 1;
  return {
    name: "the saved job",
    load() {
      const slot = slots[newest()], [number, length] = headerOf(slot);
      if (number === 0) return undefined;
      const bytes = new Uint8Array(length);
      slot.read(bytes, { at: HEADER });
      return bytes;
    },
    save(bytes) {
      const last = newest(), [number] = headerOf(slots[last]), slot = slots[1 - last];
      slot.truncate(0);
      setHeader(slot, 0, 0);
      slot.write(bytes, { at: HEADER });
      slot.flush();
      setHeader(slot, number + 1, bytes.length);
    },
    clear() {
      for (const slot of slots) slot.truncate(0);
    },
    close() {
      for (const slot of slots) slot.close();
    },
  };
}
