// What runs in the page: a client of the contract by gRPC-Web, REST and the one socket, as an application would
// write it. The driver calls these by name; one that throws has failed.

import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { EventsApi } from "./gen/clos/v2/events_pb.js";
import { GroupsApi } from "./gen/clos/v2/groups_pb.js";
import { ServicesApi, ServiceStatus } from "./gen/clos/v2/services_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/// Where closd is, and what lets us in.
interface Daemon {
  api: string;
  token: string;
}

/// What a frame of the socket says.
interface Frame {
  op: string;
  id: string;
  seq: number;
  type: string;
  group_name: string;
  error?: { message: string };
}

function same(seen: unknown, wanted: unknown, what: string): void {
  const [left, right] = [JSON.stringify(seen), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${what}: ${left} is not ${right}`);
}

function transport({ api, token }: Daemon) {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  return createGrpcWebTransport({ baseUrl: api, interceptors: [authorize] });
}

/// The error that a call must end with.
async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call went well");
}

async function rest({ api, token }: Daemon, method: string, path: string, body?: object) {
  const headers: Record<string, string> = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(api + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return { answer, json: JSON.parse(text) };
}

/// A socket on which a page has its subscriptions, and every frame that came.
class Socket {
  readonly frames: Frame[] = [];
  #look = () => {};

  private constructor(readonly socket: WebSocket) {
    socket.onmessage = ({ data }) => {
      this.frames.push(JSON.parse(data));
      this.#look();
    };
  }

  static open({ api }: Daemon, secret: string): Promise<Socket> {
    const socket = new WebSocket(`${api.replace("http", "ws")}/api/v2/ws`, ["clos.v2", secret]);
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(new Socket(socket));
      socket.onerror = () => reject(new Error("the socket did not open"));
    });
  }

  say(frame: object): void {
    this.socket.send(JSON.stringify(frame));
  }

  of(op: string): Frame[] {
    return this.frames.filter((frame) => frame.op === op);
  }

  /// Waits until so many frames of that word are there.
  until(op: string, count: number): Promise<Frame[]> {
    return new Promise((resolve, reject) => {
      this.#look = () => {
        const error = this.of("error")[0];
        if (error) reject(new Error(JSON.stringify(error)));
        if (this.of(op).length >= count) resolve(this.of(op));
      };
      this.#look();
    });
  }

  /// Waits until all that was sent to us so far has come.
  async settled(): Promise<void> {
    const pongs = this.of("pong").length;
    this.say({ op: "ping" });
    await this.until("pong", pongs + 1);
  }
}

const page = {
  /// Calls, a stream and errors with their details.
  async grpcWeb(daemon: Daemon) {
    const services = createClient(ServicesApi, transport(daemon));
    same((await services.listServices({})).totalCount, 0, "services at first");
    const watching = new AbortController();
    const events = createClient(EventsApi, transport(daemon))
      .watchEvents({ after: 0n, eventType: ["service.created"] }, { signal: watching.signal });
    const service = { name: "web", group: "desk", dockerConfig: { image: "clos-test/app" }, tags: ["a"] };
    const made = await services.createService({ service });
    same([made.group, made.status], ["desk", ServiceStatus.STOPPED], "what was made");
    same((await services.getService({ id: "desk/web" })).id, made.id, "the same by its name");
    for await (const event of events) {
      // The stream stands open, and other calls go through beside it.
      same([event.type, event.serviceId, event.seq > 0n], ["service.created", made.id, true], "the event");
      same((await services.listServices({ tags: ["a"] })).services.length, 1, "services by tag");
      watching.abort();
      break;
    }
    const missing = await failure(services.getService({ id: "desk/none" }));
    const [info] = missing.findDetails(ErrorInfoSchema);
    same([missing.code, info?.reason, info?.domain], [Code.NotFound, "SERVICE_NOT_FOUND", "clos.dev"], "not found");
    const bad = await failure(services.createService({ service: { ...service, name: "no name", port: 5 } }));
    const fields = bad.findDetails(BadRequestSchema)[0]?.fieldViolations.map((violation) => violation.field);
    same([bad.code, fields], [Code.InvalidArgument, ["name", "port"]], "every bad field at once");
    const stranger = createClient(ServicesApi, transport({ ...daemon, token: "wrong" }));
    const unknown = await failure(stranger.listServices({}));
    same([unknown.code, unknown.findDetails(ErrorInfoSchema)[0]?.reason], [Code.Unauthenticated, "TOKEN_INVALID"], "a wrong token");
  },

  /// What CORS lets a page see.
  async headers(daemon: Daemon) {
    const { answer, json } = await rest(daemon, "POST", "/api/v2/groups", { name: "shown" });
    same(answer.headers.get("location"), `/api/v2/groups/${json.id}`, "Location");
    same(answer.headers.get("etag"), `"${json.etag}"`, "ETag");
    same((answer.headers.get("x-request-id") ?? "").length > 0, true, "X-Request-Id");
  },

  /// Thirty subscriptions over one socket; each event once for each that asked for it.
  async thirty(daemon: Daemon, secret: string) {
    const socket = await Socket.open(daemon, secret);
    same(socket.socket.protocol, "clos.v2", "the chosen protocol");
    const groups = Array.from({ length: 30 }, (_, at) => `group-${String(at).padStart(2, "0")}`);
    // Half ask by the kind of event, half by the group, by its name before there is one.
    groups.forEach((group, at) => {
      const what = at % 2 ? { types: ["group.created"] } : { types: ["group.*"], group_name: group };
      socket.say({ op: "subscribe", id: group, ...what });
    });
    const acks = await socket.until("ack", 30);
    same(acks.map((ack) => ack.id).sort(), groups, "acknowledged");
    await Promise.all(groups.map((name) => rest(daemon, "POST", "/api/v2/groups", { name })));
    const wanted = 15 * 30 + 15;
    await socket.until("event", wanted);
    await socket.settled();
    const events = socket.of("event");
    same(events.length, wanted, "events in all");
    for (const [at, id] of groups.entries()) {
      const own = events.filter((event) => event.id === id);
      same(own.map((event) => event.group_name).sort(), at % 2 ? groups : [id], `the events of ${id}`);
      const order = own.map((event) => event.seq);
      same(order, [...new Set(order)].sort((a, b) => a - b), `the order of ${id}`);
    }
    socket.socket.close();
  },

  /// A ticket opens one socket, and nothing else.
  async ticket(daemon: Daemon) {
    const { ticket } = (await rest(daemon, "POST", "/api/v2/ws-tickets", {})).json;
    const socket = await Socket.open(daemon, `ticket.${ticket}`);
    socket.say({ op: "subscribe", id: "1", types: ["group.created"] });
    await socket.until("ack", 1);
    await rest(daemon, "POST", "/api/v2/groups", { name: "by-ticket" });
    same((await socket.until("event", 1))[0]?.group_name, "by-ticket", "the event");
    const again = await Socket.open(daemon, `ticket.${ticket}`).then(() => "opened", () => "refused");
    same(again, "refused", "the same ticket again");
    const other = (await rest(daemon, "POST", "/api/v2/ws-tickets", {})).json.ticket;
    for (const authorization of [`Ticket ${other}`, `Bearer ${other}`]) {
      const answer = await fetch(`${daemon.api}/api/v2/groups`, { headers: { authorization } });
      same([401, 403].includes(answer.status), true, `${authorization.split(" ")[0]} reads groups`);
    }
  },

  /// One tab of several: stays subscribed, and hands on when it has seen a group.
  async tab(daemon: Daemon, secret: string) {
    const socket = await Socket.open(daemon, secret);
    socket.say({ op: "subscribe", id: "1", types: ["group.created"] });
    await socket.until("ack", 1);
    Object.assign(globalThis, { seen: socket.until("event", 1).then(([event]) => event?.group_name) });
  },

  async make(daemon: Daemon, name: string) {
    await rest(daemon, "POST", "/api/v2/groups", { name });
  },

  async count(daemon: Daemon): Promise<number> {
    return (await rest(daemon, "GET", "/api/v2/groups")).json.total_count;
  },

  /// Everything that a page of elsewhere can try with a token that it should not have. Tells what came through.
  async intrude(daemon: Daemon): Promise<string[]> {
    const body = JSON.stringify({ name: "intruder" });
    const authorization = `Bearer ${daemon.token}`;
    const post = (headers: Record<string, string>, mode: RequestMode) =>
      fetch(`${daemon.api}/api/v2/groups`, { method: "POST", headers, body, mode });
    const groups = createClient(GroupsApi, transport(daemon));
    const tries: Record<string, () => Promise<unknown>> = {
      "a write": () => post({ authorization, "content-type": "application/json" }, "cors"),
      "a simple write that is read": () => post({ "content-type": "text/plain" }, "cors"),
      "a call by gRPC-Web": () => groups.createGroup({ group: { name: "intruder" } }),
      "a socket": () => Socket.open(daemon, `bearer.${daemon.token}`),
      "a read": () => fetch(`${daemon.api}/api/v2/health`),
    };
    const through: string[] = [];
    for (const [what, attempt] of Object.entries(tries)) {
      await attempt().then(() => through.push(what), () => {});
    }
    // This one is sent without asking. Its answer is hidden, or withheld since we share it with nobody.
    await post({ "content-type": "text/plain" }, "no-cors").catch(() => {});
    return through;
  },
};

export type Page = typeof page;
Object.assign(globalThis, { page });
