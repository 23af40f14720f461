/** Reads Prometheus' text format strictly: what does not parse is an error. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface PrometheusFamily {
  help: string | undefined;
  type: string;
  samples: Sample[];
}

/** The families by name, each with its samples. */
export function parsePrometheus(text: string): Map<string, PrometheusFamily> {
  const families = new Map<string, PrometheusFamily>();
  const helps = new Map<string, string>();
  let current: PrometheusFamily | undefined;
  let currentName = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (help?.[1] !== undefined && help[2] !== undefined) {
      helps.set(help[1], help[2]);
      continue;
    }
    const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/.exec(line);
    if (type?.[1] !== undefined && type[2] !== undefined) {
      currentName = type[1];
      if (families.has(currentName)) throw new Error(`a family twice: ${currentName}`);
      current = { help: helps.get(currentName), type: type[2], samples: [] };
      families.set(currentName, current);
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample?.[1] === undefined || current === undefined || !sample[1].startsWith(currentName)) {
      throw new Error(`not a line of the text format: ${line}`);
    }
    current.samples.push({ name: sample[1], labels: labels(sample[2] ?? ''), value: Number(sample[3]) });
  }
  return families;
}

function labels(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', value = '']) => [
      key,
      value,
    ]),
  );
}
