/** Every case, what was asked for first: a run that is short of time leaves out the last. */
import { audit } from './audit.ts';
import { beside } from './beside.ts';
import { calibration } from './calibration.ts';
import type { Case } from './case.ts';
import { checks } from './checks.ts';
import { grpcJsClient, grpcJsWide, pythonClient } from './clients.ts';
import { exists } from './exists.ts';
import { existsOneStream, existsPaced, existsTls } from './exists-load.ts';
import { existsMissS3 } from './exists-miss-s3.ts';
import { fetch, fetchShapes, fetchSmall } from './fetch.ts';
import { firstFetch } from './first-fetch.ts';
import { firstFetchConcurrent } from './first-fetch-concurrent.ts';
import { members } from './members.ts';
import { mix } from './mix.ts';
import { objectStore } from './object-store.ts';
import { overload } from './overload.ts';
import { profile } from './profile.ts';
import { pull } from './pull.ts';
import { existsMiss, findMissing, findMissing1000, stat } from './small-questions.ts';
import { stall, stallS3 } from './stall.ts';
import { start, startS3 } from './start.ts';
import { telemetry } from './telemetry.ts';
import { warm } from './warm.ts';
import { workers } from './workers.ts';

export const cases: readonly Case[] = [
  exists,
  existsTls,
  existsOneStream,
  existsPaced,
  findMissing,
  stat,
  fetch,
  fetchShapes,
  mix,
  pythonClient,
  firstFetchConcurrent,
  fetchSmall,
  stall,
  beside,
  telemetry,
  overload,
  start,
  existsMiss,
  existsMissS3,
  findMissing1000,
  members,
  objectStore,
  stallS3,
  startS3,
  profile,
  grpcJsWide,
  grpcJsClient,
  calibration,
  checks,
  firstFetch,
  workers,
  warm,
  audit,
  pull,
];
