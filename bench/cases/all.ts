/** Every case, in the order of the report. */
import { beside } from './beside.ts';
import { calibration } from './calibration.ts';
import type { Case } from './case.ts';
import { grpcJsClient, grpcJsWide, pythonClient } from './clients.ts';
import { exists } from './exists.ts';
import { fetch, fetchShapes, fetchSmall } from './fetch.ts';
import { members } from './members.ts';
import { profile } from './profile.ts';
import { existsMiss, findMissing, findMissing1000, stat } from './small-questions.ts';
import { stall } from './stall.ts';
import { start } from './start.ts';
import { telemetry } from './telemetry.ts';

export const cases: readonly Case[] = [
  exists,
  existsMiss,
  stat,
  findMissing,
  findMissing1000,
  members,
  telemetry,
  fetch,
  fetchSmall,
  fetchShapes,
  pythonClient,
  grpcJsClient,
  grpcJsWide,
  beside,
  stall,
  start,
  profile,
  calibration,
];
