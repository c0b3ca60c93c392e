// Days and times as the person's own calendar has them.

const DAY_WORDS = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const OLD_DAY_WORDS = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const TIME_WORDS = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const MOMENT_WORDS = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });

/** `2026-11-22` of a moment in seconds since 1970. */
export function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

/** The first moment of a day in seconds since 1970, `later` days after it; empty for no day. */
export function startOf(day, later = 0) {
  const [year, month, date] = String(day).split("-").map(Number);
  const seconds = new Date(year, month - 1, date + later).getTime() / 1000;
  return Number.isFinite(seconds) ? seconds : "";
}

/** A day as a heading. */
export function dayWords(day, now = Date.now()) {
  if (day === dayOf(now / 1000)) return "Today";
  if (startOf(day, 1) === startOf(dayOf(now / 1000))) return "Yesterday";
  const start = new Date(startOf(day) * 1000);
  return (start.getFullYear() === new Date(now).getFullYear() ? DAY_WORDS : OLD_DAY_WORDS).format(start);
}

export function timeWords(seconds) {
  return TIME_WORDS.format(new Date(seconds * 1000));
}

export function momentWords(seconds) {
  return MOMENT_WORDS.format(new Date(seconds * 1000));
}
