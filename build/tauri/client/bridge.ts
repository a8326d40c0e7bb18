// The page's side where the shell starts the sidecar from Rust (rust/ligeia_sidecar). Copy it with contract.ts.

import { invoke } from "@tauri-apps/api/core";
import { listen, type UnlistenFn } from "@tauri-apps/api/event";
import type { Methods, Notifications } from "./contract";

/** What a call is rejected with. `message` is a sentence for the person. */
export interface Failure {
  /** As in `ErrorCode` of contract.ts; 0 when no sidecar is running, or it ended before it answered. */
  code: number;
  message: string;
  data?: unknown;
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
  params?: Methods[M]["params"],
): Promise<Methods[M]["result"]> {
  return invoke("sidecar_request", { method, params: params ?? {} });
}

/** Calls `listener` for each event of that name, in order. Listen before you start a run. */
export function on<N extends keyof Events>(name: N, listener: (params: Events[N]) => void): Promise<UnlistenFn> {
  return listen<Events[N]>(name, ({ payload }) => listener(payload));
}
