/** Numbers for people; a number and its unit stay on one line. */

const counts = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export function count(value: number): string {
  return counts.format(value);
}

/** Per second. */
export function rate(value: number): string {
  return `${value >= 100 ? counts.format(value) : small.format(value)}/s`;
}

export function seconds(value: number): string {
  if (value < 0.001) return `${small.format(value * 1e6)}\u00a0µs`;
  return value < 1 ? `${small.format(value * 1e3)}\u00a0ms` : `${small.format(value)}\u00a0s`;
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(value: number): string {
  let unit = 0;
  let amount = value;
  for (; amount >= 1000 && unit < units.length - 1; unit++) amount /= 1024;
  return `${small.format(amount)}\u00a0${units[unit]}`;
}

/** A share of 1. */
export function percent(value: number): string {
  return `${new Intl.NumberFormat('en', { maximumFractionDigits: value > 0.99 && value < 1 ? 2 : 1 }).format(value * 100)}\u00a0%`;
}

/** A span of time, coarse: `3 d 4 h`. */
export function span(milliseconds: number): string {
  const total = Math.max(0, Math.floor(milliseconds / 1000));
  const parts = [
    [Math.floor(total / 86_400), 'd'],
    [Math.floor(total / 3600) % 24, 'h'],
    [Math.floor(total / 60) % 60, 'min'],
    [total % 60, 's'],
  ] as const;
  const first = parts.findIndex(([amount]) => amount > 0);
  const shown = first < 0 ? parts.slice(-1) : parts.slice(first, first + 2);
  return shown.map(([amount, unit]) => `${amount} ${unit}`).join(' ');
}
