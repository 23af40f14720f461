/** Counts of calls, faults and wrong answers. */
export class Sum {
  calls = 0;
  cancelled = 0;
  readonly faults = new Map<string, number>();
  /** The first wrong answers, in words. */
  readonly wrong: string[] = [];
  wrongCount = 0;

  fault(kind: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }

  get faultCount(): number {
    return [...this.faults.values()].reduce((sum, count) => sum + count, 0);
  }

  complain(what: string): void {
    this.wrongCount += 1;
    if (this.wrong.length < 20) this.wrong.push(what);
  }
}
