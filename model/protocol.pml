/*
 * The protocol between the replicas of layercache, one Redis and the storage,
 * for one layer of one repository, small enough that spin looks at every
 * interleaving. `npm run model` does it: the worlds it looks at, and the mistakes
 * that it plants to see that each is found, are in model/check.ts.
 *
 * What is modelled, and where it is in the code:
 *   lookups         src/layer/lookup.ts, shared-lookups.ts: one runs, one waits behind it
 *   leases          src/layer/leases.ts: those of lookups and of Add
 *   distrusted      src/layer/local-knowledge.ts: an eviction that was refused or lost
 *   write-back      src/layer/cache-access.ts
 *   freshness       src/layer/freshness.ts: what max_age asks about
 *   calls           src/layer/cached-layer-service.ts, missing-layers.ts, layer-info-service.ts
 *   near cache      src/cache/near/near-cache.ts, near-entries.ts, pending-reads.ts
 *   its channel     src/cache/near/tracking-connection.ts, invalidation-channel.ts
 *
 * A replica is one event loop: what the code does between two awaits is one
 * atomic step here. Commands of a replica reach Redis in the order in which
 * they left and its replies come back in that order; the news of a changed key
 * come over another connection, so at any moment. Redis does a command at a
 * time. Storage changes at any moment; a lookup reads it once, somewhere between
 * its start and its end. Time is a clock that may tick at any moment.
 *
 * What may go wrong, so often as `FAULTS` allows: a command is lost or refused
 * (the connection died, the breaker is open); a command outlives its deadline,
 * so that its caller goes on and it is done, or answered, later; the channel of
 * the news dies, silently until it is noticed.
 *
 * What is left out: metadata (a wrong one is caught by what is opened and
 * hashed), aliases, the bounds of tables, failed lookups (they change nothing),
 * re-checks of rule 15 (to the lookups they are a call with max_age 0), and
 * commands of a connection that died which Redis does after those of the next
 * one: `-DLATE_COMMAND` puts that in, and the first property does not hold.
 *
 * The properties (each an assertion below; the number is its name):
 *   P1  A membership that a replica removed or evicted is not written back by
 *       that replica from a lookup that began before.
 *   P2  A replica that removed a membership, or whose storage denied it, takes no
 *       yes from the cache any more until somebody has written it again or it has
 *       seen the layer in storage: also if the cache refused or lost the command.
 *   P3  An answer no was true at some moment of the call (so the no of a lookup
 *       is not taken by a call that came later).
 *   P4  A yes to max_age 0, and an Add that succeeds, was true at some moment of
 *       the call.
 *   P5  A yes to a max_age was true within that age.
 *   P6  Who has answered no leaves no membership behind in Redis, unless somebody
 *       wrote it since the call, or the read that it joined, began, or the replica
 *       remembers that it is not to be believed, or the cache had failed the call:
 *       no eviction is lost.
 *   P7  No answer comes from a lookup that began before a Remove or an eviction
 *       of this replica which was begun before the call.
 *   P8  A near entry does not outlive its invalidation: what is held near is in
 *       Redis, or the news that it is not are on their way, or the channel has
 *       died and that has not been noticed yet (half a second at most).
 *   P9  Every call ends.
 */

/*
 * The size of the world, from outside: CALLS0 and CALLS1, the calls to either
 * replica, at most two at a time; CHANGES of the storage, each a delete or a push;
 * FAULTS; TICKS of the clock; LEAVES, callers who go away before they have their
 * answer.
 */

#define CLIENTS 4 /* 0 and 1 are served by replica 0, 2 and 3 by replica 1 */
#define R(c) ((c) / 2)
#define WRITER(p) (CLIENTS + (p)) /* who sends the write-back of a lookup */
#define NEVER 255

/* What a call asks. */
#define ANY 1 /* Exists, of whatever age */
#define AGE 2 /* with a max_age: a yes seen since this tick began */
#define NOW 3 /* with max_age 0 */
#define MISSING 4 /* FindMissing: evicts at its end, not at the denial */
#define ADD 5
#define REMOVE 6

/* Where a call is. */
#define IDLE 0
#define ASKS 1 /* the cache */
#define ON_RUNNING 2 /* on the running lookup */
#define ON_NEXT 3 /* on the one that waits behind it */
#define ANSWERED 4
#define COLLECTS 5 /* FindMissing, denied, waits for its other digests */
#define EVICTS 6
#define REMOVES 7
#define ADDS 8
#define JOINS 9 /* within a step: wants a lookup */
#define DENIED 10 /* within a step: is about to evict */

/* Where the running lookup is. */
#define NONE 0
#define WAITS 1 /* for its slot */
#define STARTED 2 /* storage was not read yet */
#define HAS_READ 3
#define CHECKS_META 4 /* found; reads the cached metadata before it writes */
#define WRITES 5
#define ENDED 6 /* within a step */

/* Commands. */
#define ISMEMBER 1
#define SADD 2
#define SREM 3

/* The world. */
bit stored;
bit member;
byte clock;
byte lastYes; /* the tick in which storage last had it, when it has not now */
byte changes = CHANGES;
byte faults = FAULTS;
byte leaves = LEAVES;
byte calls[2];

/* Redis: the commands and replies under way, who is told of changes. */
chan requests[2] = [4] of { byte, byte, byte, byte }; /* kind, who, number, born */
chan replies[2] = [4] of { byte, byte, byte, bit }; /* kind, who, number, member */
bit tracked[2]; /* the channel lives at Redis' end */
bit alive[2]; /* the first sign of life is under way */
bit news[2]; /* news are under way, behind it */

/* A replica. */
bit trusted[2];
bit near[2];
byte reading[2]; /* the read to join, by its client + 1 */
bit distrusted[2];
byte confirmed[2]; /* the tick of the last confirmation */
byte running[2];
bit runningSaw[2];
bit runningRevoked[2];
bit runningLeft[2]; /* by all its callers */
bit runningWriteBack[2];
bit runningEvicts[2]; /* its no evicts a membership */
byte runningClock[2];
bit next[2];
bit nextWriteBack[2];
bit nextEvicts[2];

/* A call. */
byte kind[CLIENTS];
byte at[CLIENTS];
byte owner[CLIENTS]; /* whose read it waits for */
bit writeBack[CLIENTS];
bit evictIfAbsent[CLIENTS];
bit after[CLIENTS]; /* the newest lookup began after the call did */
byte since[CLIENTS];
bit revoked[CLIENTS]; /* the lease of an Add */
bit denied[CLIENTS]; /* FindMissing, to be evicted */
bit present[CLIENTS]; /* when the lookup began that said no */
bit pending[CLIENTS + 2]; /* a command, of the writers too */
bit overdue[CLIENTS + 2]; /* the next reply comes after its deadline */

/* What only the properties look at. */
byte number[2]; /* of the last Remove or eviction begun */
byte done[2]; /* and of the last that Redis did */
byte runningBorn[2]; /* the number when the lookup began */
byte born[CLIENTS]; /* when the call, or the lease of an Add, began */
bit wasThere[CLIENTS]; /* in storage, at some moment of the call */
bit wasNot[CLIENTS];
bit written[CLIENTS]; /* somebody has written the membership since */
bit failed[CLIENTS]; /* the cache failed it */
bit gone[2]; /* P2: no yes from the cache */
bit writtenSince[2]; /* the last Remove or eviction that Redis did */
bit blind[2]; /* the channel is dead, unnoticed */

#ifdef LATE_COMMAND
byte lateKind;
byte lateNumber;
byte lateBorn;
byte lateFrom;
#endif

/* Used within a step only, and no part of the state. */
hidden byte c;
hidden byte who;
hidden byte k;
hidden byte n;
hidden byte b;
hidden byte m;
hidden byte mustEvict;
hidden byte saw;
hidden byte endedBorn;

inline forgetNear(p) {
#ifndef NO_OWN_FORGET
  near[p] = 0;
  reading[p] = 0
#else
  skip
#endif
}

inline send(p, what, from, num, bornAt) {
  pending[from] = 1;
  requests[p]!what,from,num,bornAt
}

/* A Remove or an eviction begins. */
inline revokeLeases(p) {
  number[p]++;
#ifndef NO_LEASE
  if
  :: running[p] > WAITS -> runningRevoked[p] = 1
  :: else
  fi;
#endif
#ifndef NO_ADD_LEASE
  revoked[2 * p] = 1;
  revoked[2 * p + 1] = 1
#endif
}

inline finish(x) {
  kind[x] = 0;
  at[x] = IDLE;
  owner[x] = 0;
  writeBack[x] = 0;
  evictIfAbsent[x] = 0;
  after[x] = 0;
  since[x] = 0;
  revoked[x] = 0;
  denied[x] = 0;
  present[x] = 0;
  born[x] = 0;
  wasThere[x] = 0;
  wasNot[x] = 0;
  written[x] = 0;
  failed[x] = 0
}

inline answerNo(x) {
  assert(wasNot[x]); /* P3 */
  assert(failed[x] || !member || distrusted[R(x)] || written[x]); /* P6 */
  finish(x)
}

inline answerYes(x) {
  assert(kind[x] != NOW || wasThere[x]); /* P4 */
  assert(kind[x] != AGE || stored || lastYes >= since[x]); /* P5 */
  finish(x)
}

inline hit(x) {
  assert(!gone[R(x)]); /* P2 */
  answerYes(x)
}

/* The running lookup gets its slot. */
inline start(p) {
  running[p] = STARTED;
  runningRevoked[p] = 0;
  runningClock[p] = clock;
  runningBorn[p] = number[p];
  if
  :: at[2 * p] != IDLE -> after[2 * p] = 1
  :: else
  fi;
  if
  :: at[2 * p + 1] != IDLE -> after[2 * p + 1] = 1
  :: else
  fi
}

/* SharedLookups.#join */
inline join(x) {
  present[x] = 0;
  if
  :: running[R(x)] != NONE && !runningRevoked[R(x)] && !runningLeft[R(x)] && (running[R(x)] == WAITS || after[x]
#ifdef LATE_YES
      || true
#else
      || kind[x] == ANY || kind[x] == MISSING || (kind[x] == AGE && runningClock[R(x)] >= since[x])
#endif
      ) ->
    at[x] = ON_RUNNING;
    runningWriteBack[R(x)] = runningWriteBack[R(x)] | writeBack[x];
    runningEvicts[R(x)] = runningEvicts[R(x)] | evictIfAbsent[x]
#ifdef JOIN_REVOKED
  :: running[R(x)] != NONE && runningRevoked[R(x)] && !runningLeft[R(x)] && kind[x] == ANY ->
    at[x] = ON_RUNNING
#endif
  :: else ->
    if
    :: running[R(x)] == NONE ->
      running[R(x)] = WAITS;
      at[x] = ON_RUNNING;
      runningWriteBack[R(x)] = writeBack[x];
      runningEvicts[R(x)] = evictIfAbsent[x]
    :: else ->
      next[R(x)] = 1;
      at[x] = ON_NEXT;
      nextWriteBack[R(x)] = nextWriteBack[R(x)] | writeBack[x];
      nextEvicts[R(x)] = nextEvicts[R(x)] | evictIfAbsent[x]
    fi
  fi
}

/* CacheAccess.evictMemberships, for one membership. */
inline evict(x) {
#ifdef NO_EVICT
  answerNo(x)
#else
#ifndef LATE_REVOKE
  revokeLeases(R(x));
#else
  number[R(x)]++;
#endif
  distrusted[R(x)] = 1;
  confirmed[R(x)] = NEVER;
  gone[R(x)] = 1;
  forgetNear(R(x));
  at[x] = EVICTS;
  send(R(x), SREM, x, number[R(x)], 0)
#endif
}

/* A call's own eviction is over: it answers, or asks again. */
inline evicted(x) {
  denied[x] = 0;
  if
  :: present[x] -> answerNo(x)
  :: else -> at[x] = JOINS
  fi
}

/* How the lookup that a call was on ended. */
inline settle(x) {
  if
  :: saw ->
    assert(endedBorn >= born[x]); /* P7 */
    if
    :: kind[x] != ADD -> answerYes(x)
    :: kind[x] == ADD && revoked[x] -> /* starts over */
      revoked[x] = 0;
      born[x] = number[R(x)];
      after[x] = 0;
      wasThere[x] = stored;
      wasNot[x] = !stored;
      at[x] = JOINS
    :: kind[x] == ADD && !revoked[x] ->
      at[x] = ADDS;
      send(R(x), SADD, x, 0, born[x])
    fi
  :: !saw && mustEvict ->
    mustEvict = 0;
    if
    :: kind[x] == MISSING -> /* evicts when it knows of its other digests */
      denied[x] = 1;
      distrusted[R(x)] = 1;
      confirmed[R(x)] = NEVER;
      at[x] = (present[x] -> COLLECTS : JOINS)
    :: else -> at[x] = DENIED
    fi
  :: else ->
#ifdef LATE_NO
    present[x] = 1;
#endif
    if
    :: !present[x] -> at[x] = JOINS
    :: present[x] && denied[x] -> at[x] = COLLECTS
    :: present[x] && !denied[x] -> answerNo(x)
    fi
  fi
}

inline clearRunning(p) {
  running[p] = NONE;
  runningSaw[p] = 0;
  runningRevoked[p] = 0;
  runningLeft[p] = 0;
  runningWriteBack[p] = 0;
  runningEvicts[p] = 0;
  runningClock[p] = 0;
  runningBorn[p] = 0
}

inline clearNext(p) {
  next[p] = 0;
  nextWriteBack[p] = 0;
  nextEvicts[p] = 0
}

/* The running lookup ends: the next is promoted, then the callers get their answer. */
inline endLookup(p) {
  saw = runningSaw[p];
  endedBorn = runningBorn[p];
  mustEvict = runningEvicts[p];
  clearRunning(p);
  for (c : 2 * p .. 2 * p + 1) {
    if
    :: at[c] == ON_RUNNING ->
      at[c] = ANSWERED;
      present[c] = after[c]
    :: at[c] == ON_NEXT -> at[c] = ON_RUNNING
    :: else
    fi
  }
  if
#ifndef NO_PROMOTE
  :: next[p] ->
    running[p] = WAITS;
    runningWriteBack[p] = nextWriteBack[p];
    runningEvicts[p] = nextEvicts[p];
    clearNext(p);
    if
    :: start(p)
    :: skip
    fi
#endif
  :: else
  fi
}

/* What follows within the same step: nothing else of the process comes between. */
inline follow(p) {
  if
  :: running[p] == ENDED -> endLookup(p)
  :: else
  fi;
  for (c : 2 * p .. 2 * p + 1) {
    if
    :: at[c] == ANSWERED -> settle(c)
    :: else
    fi;
    if
    :: at[c] == JOINS -> join(c)
    :: at[c] == DENIED -> evict(c)
    :: else
    fi
  }
}

/* The cache has answered whether it is a member. */
inline cacheSaid(x, yes) {
  owner[x] = 0;
  if
  :: yes && !distrusted[R(x)] -> hit(x)
  :: else ->
    writeBack[x] = !yes;
    evictIfAbsent[x] = yes;
    at[x] = JOINS
  fi
}

inline ask(x) {
  if
  :: trusted[R(x)] && near[R(x)] -> cacheSaid(x, 1)
  :: trusted[R(x)] && !near[R(x)] && reading[R(x)] ->
    at[x] = ASKS;
    owner[x] = reading[R(x)] - 1;
    written[x] = written[owner[x]]
  :: else ->
#ifndef KEEP_BLIND
    if
    :: trusted[R(x)] -> reading[R(x)] = x + 1
    :: else
    fi;
#else
    reading[R(x)] = x + 1;
#endif
    at[x] = ASKS;
    owner[x] = x;
    send(R(x), ISMEMBER, x, 0, 0)
  fi
}

/* No confirmation is young enough for the max_age: straight to storage. */
inline skipCache(x) {
  writeBack[x] = (confirmed[R(x)] == NEVER);
  evictIfAbsent[x] = 1;
  at[x] = JOINS
}

inline begin(x) {
  calls[R(x)]--;
  wasThere[x] = stored;
  wasNot[x] = !stored;
  born[x] = number[R(x)];
  at[x] = ASKS;
  if
  :: kind[x] = ANY
  :: kind[x] = MISSING
  :: TICKS > 0 -> /* else it is a NOW or an ANY */
    kind[x] = AGE;
    since[x] = clock;
    if
    :: confirmed[R(x)] == NEVER || confirmed[R(x)] < clock -> skipCache(x)
    :: else
    fi
  :: kind[x] = NOW; skipCache(x)
  :: kind[x] = ADD;
    evictIfAbsent[x] = 1;
    at[x] = JOINS
  :: kind[x] = REMOVE;
    revokeLeases(R(x));
    confirmed[R(x)] = NEVER;
    forgetNear(R(x));
    at[x] = REMOVES;
    send(R(x), SREM, x, number[R(x)], 0)
  fi;
  if
  :: at[x] == ASKS -> ask(x)
  :: else
  fi
}

/* The command of `who` failed, as far as its caller can know. */
inline fail(p) {
  pending[who] = 0;
  if
  :: who >= CLIENTS -> running[p] = ENDED
  :: who < CLIENTS && at[who] == ADDS -> finish(who)
  :: who < CLIENTS && at[who] == REMOVES ->
    forgetNear(p);
#ifndef NO_DISTRUST_REMOVED
    distrusted[p] = 1;
#endif
    gone[p] = 1;
    finish(who)
  :: who < CLIENTS && at[who] == EVICTS ->
    forgetNear(p);
#ifndef NO_DISTRUST_EVICTED
    distrusted[p] = 1;
#else
    distrusted[p] = 0;
#endif
    evicted(who)
  :: who < CLIENTS && at[who] == ASKS ->
    if
    :: reading[p] == who + 1 -> reading[p] = 0
    :: else
    fi;
    for (c : 2 * p .. 2 * p + 1) {
      if
      :: at[c] == ASKS && owner[c] == who ->
        owner[c] = 0;
        failed[c] = 1;
        at[c] = JOINS
      :: else
      fi
    }
  fi
}

inline answered(p) {
  pending[who] = 0;
  if
  :: k == SADD ->
    if
    :: who >= CLIENTS -> running[p] = ENDED
    :: else -> finish(who)
    fi
  :: k == SREM ->
    forgetNear(p);
    if
    :: n == done[p] -> gone[p] = !writtenSince[p]
    :: else
    fi;
    if
    :: at[who] == REMOVES -> finish(who)
    :: else ->
      distrusted[p] = 0;
      evicted(who)
    fi
  :: k == ISMEMBER ->
    if
    :: reading[p] == who + 1 ->
      reading[p] = 0;
      near[p] = near[p] | m
    :: else
    fi;
    for (c : 2 * p .. 2 * p + 1) {
      if
      :: at[c] == ASKS && owner[c] == who -> cacheSaid(c, m)
      :: else
      fi
    }
  fi
}

inline leave(p) {
  leaves--;
  if
  :: at[c] == ON_RUNNING ->
    finish(c);
    if
    :: at[2 * p] == ON_RUNNING || at[2 * p + 1] == ON_RUNNING
    :: else ->
      if
      :: running[p] < CHECKS_META -> running[p] = ENDED
      :: else -> runningLeft[p] = 1
      fi
    fi
  :: else ->
    finish(c);
    if
    :: at[2 * p] == ON_NEXT || at[2 * p + 1] == ON_NEXT
    :: else -> clearNext(p)
    fi
  fi
}

#define SOME(p, place) (at[2 * p] == place || at[2 * p + 1] == place)
#define LATE(x) (pending[x] && !overdue[x])
/* A FindMissing that was denied stays to evict. */
#define CAN_LEAVE(x) ((at[x] == ON_RUNNING || at[x] == ON_NEXT) && !denied[x])

proctype Replica(byte p) {
end:
  do
  :: atomic {
    if
    :: calls[p] > 0 && SOME(p, IDLE) ->
      c = (at[2 * p] == IDLE -> 2 * p : 2 * p + 1);
      begin(c)
    :: nempty(replies[p]) ->
      replies[p]?k,who,n,m;
      if
      :: overdue[who] -> overdue[who] = 0
      :: else -> answered(p)
      fi

    :: alive[p] -> alive[p] = 0; trusted[p] = 1
    :: news[p] && !alive[p] ->
      news[p] = 0;
      near[p] = 0;
#ifndef NO_DISCARD
      reading[p] = 0
#endif

    :: running[p] == WAITS -> start(p)
    :: running[p] == STARTED -> runningSaw[p] = stored; running[p] = HAS_READ
    :: running[p] == HAS_READ && runningSaw[p] && !runningRevoked[p] ->
      distrusted[p] = 0;
      gone[p] = 0;
#ifdef AGE_FROM_END
      confirmed[p] = clock;
#else
      confirmed[p] = runningClock[p];
#endif
      running[p] = (runningWriteBack[p] -> CHECKS_META : ENDED)
    :: running[p] == HAS_READ && (!runningSaw[p] || runningRevoked[p]) -> running[p] = ENDED
    :: running[p] == CHECKS_META && runningRevoked[p] -> running[p] = ENDED
    :: running[p] == CHECKS_META && !runningRevoked[p] ->
      running[p] = WRITES;
      send(p, SADD, WRITER(p), 0, runningBorn[p])

    :: SOME(p, COLLECTS) ->
      if
      :: at[2 * p] == COLLECTS -> c = 2 * p
      :: at[2 * p + 1] == COLLECTS -> c = 2 * p + 1
      fi;
      present[c] = 1;
      at[c] = DENIED

    :: leaves > 0 && (CAN_LEAVE(2 * p) || CAN_LEAVE(2 * p + 1)) ->
      if
      :: CAN_LEAVE(2 * p) -> c = 2 * p
      :: CAN_LEAVE(2 * p + 1) -> c = 2 * p + 1
      fi;
      leave(p)

    /* A command is lost or refused. */
    :: faults > 0 && nempty(requests[p]) ->
      faults--;
      requests[p]?k,who,n,b;
#ifdef LATE_COMMAND
      lateKind = k;
      lateNumber = n;
      lateBorn = b;
      lateFrom = p;
#endif
      if
      :: overdue[who] -> overdue[who] = 0
      :: else -> fail(p)
      fi
    /* A command outlives its deadline. */
    :: faults > 0 && (LATE(2 * p) || LATE(2 * p + 1) || LATE(WRITER(p))) ->
      faults--;
      if
      :: LATE(2 * p) -> who = 2 * p
      :: LATE(2 * p + 1) -> who = 2 * p + 1
      :: LATE(WRITER(p)) -> who = WRITER(p)
      fi;
      overdue[who] = 1;
      fail(p)

    /* The channel of the news dies, is found dead, is made anew. */
    :: faults > 0 && tracked[p] ->
      faults--;
      tracked[p] = 0;
      alive[p] = 0;
      news[p] = 0;
      blind[p] = trusted[p]
    :: !tracked[p] && trusted[p] ->
      trusted[p] = 0;
      blind[p] = 0;
#ifndef NO_CLEAR_ON_LOST
      near[p] = 0;
#endif
#ifndef NO_DISCARD_ON_LOST
      reading[p] = 0
#endif
    :: !tracked[p] && !trusted[p] -> tracked[p] = 1; alive[p] = 1
    fi;
    follow(p);
    assert(!near[p] || !trusted[p] || member || news[p] || blind[p]) /* P8 */
  }
  od
}

inline changed() {
  news[0] = news[0] | tracked[0];
  news[1] = news[1] | tracked[1]
}

inline does(p) {
  if
  :: k == ISMEMBER -> skip
  :: k == SADD ->
    assert(b >= done[p]); /* P1 */
    if
    :: !member -> member = 1; changed()
    :: else
    fi;
    gone[0] = 0;
    gone[1] = 0;
    writtenSince[0] = 1;
    writtenSince[1] = 1;
    written[0] = (at[0] != IDLE);
    written[1] = (at[1] != IDLE);
    written[2] = (at[2] != IDLE);
    written[3] = (at[3] != IDLE)
  :: k == SREM ->
    done[p] = n;
    writtenSince[p] = 0;
    if
    :: member -> member = 0; changed()
    :: else
    fi
  fi
}

proctype Redis() {
end:
  do
  :: atomic { nempty(requests[0]) -> requests[0]?k,who,n,b; does(0); m = (k == ISMEMBER && member); replies[0]!k,who,n,m }
  :: atomic { nempty(requests[1]) -> requests[1]?k,who,n,b; does(1); m = (k == ISMEMBER && member); replies[1]!k,who,n,m }
#ifdef LATE_COMMAND
  :: atomic { lateKind != 0 -> k = lateKind; n = lateNumber; b = lateBorn; lateKind = 0; does(lateFrom) }
#endif
  od
}

inline witness(x) {
  wasThere[x] = wasThere[x] | (stored && at[x] != IDLE);
  wasNot[x] = wasNot[x] | (!stored && at[x] != IDLE)
}

proctype World() {
end:
  do
  :: atomic { changes > 0 ->
      changes--;
      if
      :: stored -> stored = 0; lastYes = clock
      :: else -> stored = 1; lastYes = 0
      fi;
      witness(0);
      witness(1);
      witness(2);
      witness(3)
    }
  :: atomic { clock < TICKS -> clock++ }
  :: timeout ->
    assert(at[0] == IDLE && at[1] == IDLE && at[2] == IDLE && at[3] == IDLE
      && running[0] == NONE && running[1] == NONE && !next[0] && !next[1]); /* P9 */
    break
  od
}

init {
  atomic {
    calls[0] = CALLS0;
    calls[1] = CALLS1;
    trusted[0] = 1;
    trusted[1] = 1;
    tracked[0] = 1;
    tracked[1] = 1;
    confirmed[0] = NEVER;
    confirmed[1] = NEVER;
    if
    :: stored = 1
    :: CHANGES < 2 -> stored = 0 /* else it may become so */
    fi;
    if
    :: member = 1
    :: member = 0
    fi;
    run Replica(0);
    if
    :: CALLS1 > 0 -> run Replica(1)
    :: else -> tracked[1] = 0
    fi;
    run Redis();
    run World()
  }
}
