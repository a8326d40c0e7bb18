// The page's side where the shell starts the sidecar from Rust (rust/ligeia_sidecar). Copy it with contract.ts.

import { invoke } from "@tauri-apps/api/core";
import { listen, type UnlistenFn } from "@tauri-apps/api/event";
import type { Arguments, Methods, Notifications } from "./contract";

/** What a call is rejected with. `message` is a sentence for the person. */
export interface Failure {
  /** As in `ErrorCode` of contract.ts; 0 when no sidecar is running, or it ended before it answered. */
  code: number;
  message: string;
  /** As in `ErrorData` of contract.ts; `Ended` for code 0. */
  data?: unknown;
}

/** Why no sidecar is running. */
export interface Ended {
  /** Null after a kill, after `stop`, and where none could be started. */
  exit_code: number | null;
  /** The last lines of its log, and the shell's own words where it could not be started. */
  log: string[];
}

interface Events extends Notifications {
  /** A line of the sidecar's log. */
  "sidecar-log": string;
  /** The sidecar has ended though nobody stopped it: its exit code, null after a kill. */
  "sidecar-exit": number | null;
}

/** The result of one call. Rejects with a `Failure`. */
export function request<M extends keyof Methods>(
  method: M,
  ...[params]: Arguments<M>
): Promise<Methods[M]["result"]> {
  return invoke("sidecar_request", { method, params: params ?? {} });
}

/** Starts the sidecar again, on the same database; one that runs is stopped first. Rejects with a `Failure`. */
export function start(): Promise<void> {
  return invoke("sidecar_start");
}

/** Calls `listener` for each event of that name, in order. Listen before you start a run. */
export function on<N extends keyof Events>(name: N, listener: (params: Events[N]) => void): Promise<UnlistenFn> {
  return listen<Events[N]>(name, ({ payload }) => listener(payload));
}
