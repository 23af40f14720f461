/** Every case, in the order of the report. */
import type { Case } from './case.ts';
import { exists } from './exists.ts';
import { fetch } from './fetch.ts';

export const cases: readonly Case[] = [exists, fetch];
