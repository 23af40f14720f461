import type { Authenticator } from '../auth/authenticator.js';
import { status } from '../grpc/status-code.js';
import type { UnaryCall } from '../grpc/transport.js';
import type { Admission } from './admission.js';
import { recordOf } from './call-record.js';
import type { CallsInFlight } from './calls-in-flight.js';
import type { RunningCall } from './running-call.js';
import { overloaded, statusOf } from './status.js';

/** What a unary RPC does; what it throws becomes the status. */
export type UnaryWork<Request, Response> = (request: Request, call: RunningCall) => Promise<Response>;

/** What all unary calls share. */
export interface UnaryCallParts {
  readonly calls: CallsInFlight;
  readonly admission: Admission;
  readonly authenticator: Authenticator;
}

/** The weight of a request. */
type Weighing<Request> = (request: Request) => number;

const lightest = () => 1;

/** A handler that runs the work as an observed call with a signal of its own, unless the limits are reached. */
export function unaryCall<Request, Response>(
  method: string,
  { calls, admission, authenticator }: UnaryCallParts,
  work: UnaryWork<Request, Response>,
  weigh: Weighing<Request> = lightest,
): (transport: UnaryCall) => Promise<void> {
  return async (transport) => {
    const request = transport.request as Request;
    const weight = weigh(request);
    if (!admission.enterCall(weight)) {
      transport.fail(overloaded);
      return;
    }
    const call = calls.begin(method, transport);
    try {
      // No await where there is nothing to wait for: it costs a turn.
      const identifying = call.identified(authenticator.identify(transport));
      if (identifying !== undefined) await identifying;
      const response = await call.observed.run(() => work(request, call));
      // Before the transport, which says at once that the call is over.
      call.answer(call.abortReason?.code ?? status[status.OK], call.abortReason);
      transport.answer(response);
    } catch (error) {
      const sent = statusOf(error);
      call.answer(...recordOf(error, sent, call));
      // No effect if the client has an answer already.
      transport.fail(sent);
    } finally {
      admission.leaveCall(weight);
    }
  };
}
