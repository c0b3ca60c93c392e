// Numbers, sizes, times and prices as text for people.

/** The page speaks English: the dates and numbers in its sentences do too, as this person's kind of English writes them. */
const LANGUAGE = navigator.languages.find((each) => /^en(?:-|$)/i.test(each)) ?? "en-GB";
const DAY_FORMAT = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long" });
const OLD_DAY_FORMAT = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "long", year: "numeric" });
const TIME_FORMAT = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit" });
const DATE_AND_TIME_FORMAT = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "long", timeStyle: "short" });

/** `1280*1280` and `1280x1280` as people write them. */
export function formatSize(size) {
  return String(size).replace(/^(\d+)\s*[*xX]\s*(\d+)$/, "$1 × $2");
}

/** Bytes as a file manager shows them. */
export function formatBytes(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Seconds of a wait, in whole ones. */
export function formatSeconds(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A number as it is written in a sentence. */
export function formatNumber(count) {
  return count.toLocaleString(LANGUAGE);
}

/** A number of something: `1 image`, `2,000 images`, `no images`. */
export function formatCount(count, name) {
  return `${count ? formatNumber(count) : "no"} ${name}${count === 1 ? "" : "s"}`;
}

/** A text with a capital letter, as a sentence begins. */
export function toCapital(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** Somebody's text with an end, so that another sentence can follow it. */
export function endSentence(text) {
  return /[.!?…。！？]["')”’」]*$/.test(text.trimEnd()) ? text : `${text}.`;
}

/** A number of images. */
export function formatImages(count) {
  return formatCount(count, "image");
}

/** The last part of a path of any system. */
export function fileName(path) {
  return path.split(/[\\/]/).pop() || path;
}

/** Width by height of what was asked for, 1 where it does not say. */
export function parseAspect(size) {
  const [, width, height] = /^\s*(\d{1,5})\s*[*xX:]\s*(\d{1,5})\s*$/.exec(String(size ?? "")) ?? [];
  const aspect = Number(width) / Number(height);
  return Number.isFinite(aspect) && aspect > 0 ? Math.min(4, Math.max(0.25, aspect)) : 1;
}

/** What one image costs, in a sentence. `price` has an amount, a currency and the month that it is of. */
export function formatPrice(price, region) {
  if (region === "sandbox") return "The sandbox is free.";
  if (!price) return "Each image costs money.";
  return `List price ${price.amount} ${price.currency} an image (${price.as_of}).`;
}

/** `2026-11-22`, the day in the calendar of this machine, of a moment in seconds since 1970. */
export function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}

/** The first moment of a day in seconds since 1970, `later` days after it; empty for no day. */
export function startOfDay(day, later = 0) {
  const [year, month, date] = String(day).split("-").map(Number);
  const seconds = new Date(year, month - 1, date + later).getTime() / 1000;
  return Number.isFinite(seconds) ? seconds : "";
}

/** A day as a heading. */
export function formatDay(day, now = Date.now()) {
  if (day === dayOf(now / 1000)) return "Today";
  if (startOfDay(day, 1) === startOfDay(dayOf(now / 1000))) return "Yesterday";
  const start = new Date(startOfDay(day) * 1000);
  return (start.getFullYear() === new Date(now).getFullYear() ? DAY_FORMAT : OLD_DAY_FORMAT).format(start);
}

/** The time of day of a moment in seconds since 1970. */
export function formatTime(seconds) {
  return TIME_FORMAT.format(new Date(seconds * 1000));
}

/** A moment in seconds since 1970 as date and time. */
export function formatDateAndTime(seconds) {
  return DATE_AND_TIME_FORMAT.format(new Date(seconds * 1000));
}
