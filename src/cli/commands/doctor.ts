/** `layercache doctor`: looks at all that a server depends on. */
import { command, jsonFlag } from '../command.js';
import { options } from '../option-schema.js';

export const doctor = command({
  name: 'doctor',
  summary: 'look at all that a server with these options depends on, and say what is wrong',
  description:
    'Takes the options of serve and asks the storage, the cache, the TLS files, the clock, the limits of this machine and the ports. Prints a line each: ok, warn or fail, what it is about, the cause and what to do. Exit 1 when something fails, 0 when nothing does. To be run as the account and with the environment of the server; it changes nothing, and may be run beside a server.',
  arguments: {},
  options: {
    ...options,
    json: jsonFlag,
  },
  run: async ({ options: { json, ...config }, signal }) => {
    const [{ examine }, { assertTogether }] = await Promise.all([
      import('../doctor/doctor.js'),
      import('../options.js'),
    ]);
    assertTogether(config);
    const isWrong = await examine(config, json, signal, process.stdout);
    // A thread that hangs in a dead file system would keep the process for ever.
    setTimeout(() => process.exit(), 500).unref();
    return isWrong ? 1 : 0;
  },
});
