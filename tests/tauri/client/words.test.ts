// page/words.ts: what the example page says in numbers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { undone } from "../page/words.js";

function said(restored_files: number, skipped_files: number): string {
  return undone({ run_id: "r", restored_files, skipped_files });
}

test("an undo is told right in number, and of what was skipped no more than is known", () => {
  assert.equal(said(1, 0), "Undone: 1 file got its former tags back.");
  assert.equal(
    said(1_200, 1),
    "Undone: 1,200 files got their former tags back. 1 file was left alone: it has been changed or deleted since then.",
  );
  assert.equal(
    said(0, 2),
    "Undone: 0 files got their former tags back. 2 files were left alone: they have been changed or deleted since then.",
  );
});
