/**
 * Orders the events of a process: a later event has a greater number, always,
 * which no clock promises. Calls, the starts of flights, openings and verdicts
 * are numbered by one count.
 */
export class EventCount {
  #last = 0;

  next(): number {
    this.#last += 1;
    return this.#last;
  }
}
