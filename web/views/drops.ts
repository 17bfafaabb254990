/**
 * A place for files: they are dropped on it, or chosen by its buttons.
 *
 * @module
 */

import { fill, h } from "../dom.ts";
import type { NamedFile } from "../messages.ts";

/** Options of {@linkcode DropView}. */
export interface DropOptions {
  /** What it takes. */
  readonly title: string;
  /** The same in more words. */
  readonly hint: string;
  /** Kinds of files, as an input takes them. */
  readonly accept: string;
  /** Whether several files, and folders, can be chosen. Default: false. */
  readonly folders?: boolean;
  /** Called with what was chosen. */
  readonly onFiles: (files: NamedFile[]) => void;
}

/** Warnings that are shown, at most. */
const MOST_WARNINGS = 3;
let count = 0;

/** A place for files. */
export class DropView {
  /** The element. */
  readonly element: HTMLElement;
  readonly #state = h("p", { class: "state", role: "status" });
  readonly #warnings = h("ul", { class: "small soft" });

  /** A place for files. */
  constructor({ title, hint, accept, folders = false, onFiles }: DropOptions) {
    const id = `drop-${count++}`;
    const input = (label: string, attributes: Record<string, string | boolean>) =>
      h(
        "label",
        { class: "button" },
        label,
        h("input", {
          type: "file",
          "aria-describedby": `${id}-hint`,
          "aria-label": `${title}: ${label.toLowerCase()}`,
          ...attributes,
          change: (event) => {
            const chosen = event.target as HTMLInputElement;
            const files = [...chosen.files!].map((file) => ({
              path: withoutRoot(file.webkitRelativePath) || file.name,
              file,
            }));
            // The same file may be chosen again.
            chosen.value = "";
            if (files.length > 0) onFiles(files);
          },
        }),
      );
    this.element = h(
      "div",
      { class: "drop" },
      h("h3", {}, title),
      h("p", { class: "soft small", id: `${id}-hint` }, hint),
      this.#state,
      this.#warnings,
      h(
        "div",
        { class: "buttons" },
        input(folders ? "Choose files" : "Choose a file", { accept, multiple: folders }),
        folders && input("Choose a folder", { webkitdirectory: true }),
      ),
    );
    const isOver = (over: boolean) => this.element.classList.toggle("over", over);
    this.element.addEventListener("dragover", (event) => {
      event.preventDefault();
      isOver(true);
    });
    this.element.addEventListener("dragleave", () => isOver(false));
    this.element.addEventListener("drop", async (event) => {
      event.preventDefault();
      isOver(false);
      const files = await droppedFiles(event.dataTransfer!);
      if (files.length > 0) onFiles(folders ? files : files.slice(0, 1));
    });
  }

  /** Says what it holds; undefined: nothing. */
  say(text: string | undefined): void {
    this.#state.textContent = text ?? "";
    this.element.classList.toggle("full", text !== undefined);
  }

  /** Says what is wrong with some of it. */
  warn(warnings: readonly string[]): void {
    const more = warnings.length - MOST_WARNINGS;
    fill(
      this.#warnings,
      ...warnings.slice(0, MOST_WARNINGS).map((warning) => h("li", {}, warning)),
      more > 0 && h("li", {}, `and ${more} more`),
    );
  }
}

/** Paths are told within the folder that was chosen, as the command line does. */
function withoutRoot(path: string): string {
  return path.slice(path.indexOf("/") + 1);
}

/** The files that were dropped, those in folders with their paths. */
async function droppedFiles(transfer: DataTransfer): Promise<NamedFile[]> {
  // Entries are gone once this turn is over.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const files: NamedFile[] = [];
  const isOne = entries.length === 1;
  for (const entry of entries) if (entry) await collect(entry, isOne ? 1 : 0, files);
  return files;
}

/** Adds the files of `entry`, without the first `drop` folders of their paths. */
async function collect(entry: FileSystemEntry, drop: number, files: NamedFile[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject)
    );
    const parts = entry.fullPath.split("/").filter(Boolean);
    files.push({ path: parts.slice(Math.min(drop, parts.length - 1)).join("/"), file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // A call gives a hundred of them, at most.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject)
    );
    if (some.length === 0) return;
    for (const each of some) await collect(each, drop, files);
  }
}
