/**
 * Keeps the status page up to date: asks for the page again every two seconds
 * and changes only what differs, so that focus, selection and what is folded
 * open stay. Without this script the page shows the numbers of its moment.
 */
import { Idiomorph } from 'idiomorph';

/** Milliseconds between two requests, and for one. */
const interval = 2000;
const timeout = 5000;

const pause = document.querySelector<HTMLButtonElement>('#pause');
const lost = document.querySelector<HTMLElement>('#lost');
let paused = false;

/** The browser's own: what somebody folded open, and what this script shows. */
function isKept(old: Node): boolean {
  return old === pause || old === lost;
}

async function refresh(): Promise<void> {
  const response = await fetch('/', { signal: AbortSignal.timeout(timeout), cache: 'no-store' });
  if (!response.ok) throw new Error(`the answer is ${response.status}`);
  const next = new DOMParser().parseFromString(await response.text(), 'text/html');
  if (paused) return;
  document.title = next.title;
  Idiomorph.morph(document.body, next.body, {
    morphStyle: 'innerHTML',
    callbacks: {
      beforeNodeMorphed: (old: Node) => !isKept(old),
      beforeAttributeUpdated: (name: string) => name !== 'open',
    },
  });
}

async function tick(): Promise<void> {
  if (!paused && !document.hidden) {
    try {
      await refresh();
      if (lost !== null) lost.hidden = true;
    } catch {
      // Whatever the reason, what is shown is old.
      if (lost !== null) lost.hidden = false;
    }
  }
  setTimeout(() => void tick(), interval);
}

if (pause !== null) {
  pause.hidden = false;
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
  });
}
setTimeout(() => void tick(), interval);
