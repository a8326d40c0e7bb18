// What the page says: numbers, times and reasons in plain words. Knows no element and no clock.

import type { Reason, RunStatus, Undone, Usage } from "../client/contract";

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const REASONS: Record<Reason, string> = {
  missing_in_response: "Gemini left them out of its answer",
  invalid_tags: "Gemini’s tags were not in your vocabulary",
  blocked: "Gemini’s content filter blocked them",
  bad_response: "Gemini’s answer could not be used",
  rate_limited: "Gemini’s rate limit refused them again and again",
  service_unavailable: "Gemini could not be reached",
  timeout: "Gemini took too long to answer",
  request_rejected: "Gemini rejected the request",
  database_error: "The library could not be written to",
  changed: "Skipped: changed by someone else in the meantime",
  deleted: "Skipped: deleted in the meantime",
};

const ENDED: Record<RunStatus, string> = {
  completed: "Tagging is finished",
  cancelled: "Tagging was cancelled",
  failed: "Tagging has failed",
  quota_exhausted: "Gemini’s quota is used up",
  interrupted: "Tagging was interrupted",
  running: "Tagging",
};

/** Why these files were not tagged; a reason that a newer sidecar adds is shown as it is. */
export function reason(name: Reason): string {
  return REASONS[name] ?? name.split("_").join(" ");
}

/** How a run ended, as a heading. */
export function ended(status: RunStatus): string {
  return ENDED[status] ?? "Tagging has ended";
}

/** `1,234`. */
export function number(count: number): string {
  return whole.format(count);
}

/** `1 file`, `1,234 files`. */
export function files(count: number): string {
  return count === 1 ? "1 file" : `${whole.format(count)} files`;
}

/** What came of an undo. What was skipped may have been changed, or be gone. */
export function undone({ restored_files, skipped_files }: Undone): string {
  const got = `Undone: ${files(restored_files)} got ${restored_files === 1 ? "its" : "their"} former tags back.`;
  if (!skipped_files) return got;
  const [were, have] = skipped_files === 1 ? ["was", "it has"] : ["were", "they have"];
  return `${got} ${files(skipped_files)} ${were} left alone: ${have} been changed or deleted since then.`;
}

/** Share in whole percent; 100 only when nothing is left. */
export function percent(part: number, total: number): string {
  return `${total ? Math.floor((part / total) * 100) : 0} %`;
}

/** `0:07`, `12:05`, `1:02:03`: for a countdown and for the time a run took. */
export function clock(seconds: number): string {
  const rest = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(rest / 60) % 60;
  const parts = rest >= 3600 ? [Math.floor(rest / 3600), twoDigits(minutes)] : [minutes];
  return [...parts, twoDigits(rest % 60)].join(":");
}

/** `about 3 min`: an estimate, said no more exactly than it is known. */
export function estimate(seconds: number | null): string {
  if (seconds === null) return "–";
  if (seconds < 1) return "a moment";
  if (seconds < 60) return `about ${Math.max(5, Math.ceil(seconds / 5) * 5)} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

/** `40.1K / 8.2K`. */
export function tokens(usage: Usage): string {
  return `${short.format(usage.prompt_tokens)} / ${short.format(usage.output_tokens + usage.thoughts_tokens)}`;
}

/** The file's name, of a path of any system. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).pop() || path;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
