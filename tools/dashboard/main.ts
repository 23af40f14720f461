/** `npm run dashboard`: writes deploy/grafana/layercache.json. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dashboardText } from './dashboard.ts';

writeFileSync(join(import.meta.dirname, '..', '..', 'deploy', 'grafana', 'layercache.json'), dashboardText());
