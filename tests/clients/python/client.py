"""A client that grpcio generated, against a running closd: python client.py HOST:PORT TOKEN SOCKET.

What is said of gRPC in the documents has to hold for a library that is not ours: its metadata, its deadlines, its
streams, its reading of error details. The first thing that does not ends it.
"""

import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clos.v2 import events_pb2, events_pb2_grpc, groups_pb2, groups_pb2_grpc, services_pb2, services_pb2_grpc

# Seconds that a call may take, unless something hangs.
PATIENCE = 30


class Closd:
    """The services of one way in."""

    def __init__(self, channel, token=None):
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.services = services_pb2_grpc.ServicesApiStub(channel)
        self.groups = groups_pb2_grpc.GroupsApiStub(channel)
        self.events = events_pb2_grpc.EventsApiStub(channel)

    def ask(self, method, request):
        return method(request, metadata=self.metadata, timeout=PATIENCE)

    def make_group(self, name):
        return self.ask(self.groups.CreateGroup, groups_pb2.CreateGroupRequest(group=groups_pb2.Group(name=name)))

    def watch(self, after, count):
        """Reads so many events after a position, then breaks off."""
        request = events_pb2.WatchEventsRequest(after=after, event_type=["group.created"])
        stream = self.events.WatchEvents(request, metadata=self.metadata, timeout=PATIENCE)
        seen = []
        for event in stream:
            if event.type == "group.created":
                seen.append((event.seq, event.group_name))
                if len(seen) == count:
                    stream.cancel()
                    return seen
        raise AssertionError(f"the watch ended by itself after {seen}")


def failure(call):
    """How a call failed: its code, and its details by type."""
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        assert status is not None, f"no details: {error}"
        found = {}
        for packed in status.details:
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.ResourceInfo):
                if packed.Is(kind.DESCRIPTOR):
                    found[kind] = kind()
                    packed.Unpack(found[kind])
        return error.code(), found
    raise AssertionError("the call went well")


def use(closd, group):
    """What every way in has to give."""
    listing = services_pb2.ListServicesRequest(group=group)
    assert closd.ask(closd.services.ListServices, listing).total_count == 0

    service = services_pb2.Service(name="web", group=group, docker_config={"image": "clos-test/app"})
    service.environment["DB_PASSWORD"] = "s3cret"
    made = closd.ask(closd.services.CreateService, services_pb2.CreateServiceRequest(service=service))
    assert made.id.startswith("svc_") and made.status == services_pb2.SERVICE_STATUS_STOPPED, made
    assert made.environment["DB_PASSWORD"] not in ("", "s3cret"), "a secret is masked"
    listed = closd.ask(closd.services.ListServices, listing)
    assert [it.id for it in listed.services] == [made.id], listed

    again = services_pb2.CreateServiceRequest(service=service)
    code, details = failure(lambda: closd.ask(closd.services.CreateService, again))
    info = details[error_details_pb2.ErrorInfo]
    assert (code, info.domain) == (grpc.StatusCode.ALREADY_EXISTS, "clos.dev") and info.reason, (code, info)

    missing = services_pb2.GetServiceRequest(id=f"{group}/none")
    code, details = failure(lambda: closd.ask(closd.services.GetService, missing))
    assert code == grpc.StatusCode.NOT_FOUND
    assert details[error_details_pb2.ErrorInfo].reason == "SERVICE_NOT_FOUND"

    bad = services_pb2.Service(name="no name", group=group, port=5, docker_config={"image": "x"})
    request = services_pb2.CreateServiceRequest(service=bad)
    code, details = failure(lambda: closd.ask(closd.services.CreateService, request))
    fields = [it.field for it in details[error_details_pb2.BadRequest].field_violations]
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["name", "port"]), (code, fields)


def resume(closd, prefix, after):
    """Reads a watch in three parts, with something made while nobody looks; nothing is lost or comes twice."""
    names = [f"{prefix}-{at}" for at in range(6)]
    seen = []
    for at in range(0, 6, 2):
        for name in names[at : at + 2]:
            closd.make_group(name)
        # One is left behind each time, and read by the next.
        seen += closd.watch(seen[-1][0] if seen else after, 1 if at < 4 else 4)
    assert [name for _, name in seen] == names, seen
    assert [seq for seq, _ in seen] == sorted({seq for seq, _ in seen}), seen


def unnamed(socket):
    """A channel that does not name its authority is refused, for a reason that the log of closd tells."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        closd = Closd(channel)
        try:
            closd.ask(closd.events.ListEvents, events_pb2.ListEventsRequest(limit=1))
        except grpc.RpcError as error:
            assert "RST_STREAM" in error.details() or "PROTOCOL_ERROR" in error.details(), error
        else:
            raise AssertionError("closd took a path for a host")


def main(address, token, socket):
    # By itself grpcio sends the path of a socket as :authority, with escapes that are none of a host's name.
    named = [("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(address) as tcp, grpc.insecure_channel(f"unix:{socket}", named) as unix:
        use(Closd(tcp, token), "over-tcp")
        use(Closd(unix), "over-socket")
        unnamed(socket)

        local = Closd(unix)
        head = local.ask(local.events.ListEvents, events_pb2.ListEventsRequest(limit=1)).head_seq
        resume(Closd(tcp, token), "tcp", head)
        head = local.ask(local.events.ListEvents, events_pb2.ListEventsRequest(limit=1)).head_seq
        resume(local, "unix", head)

        for wrong, reason in ((None, "TOKEN_MISSING"), ("wrong", "TOKEN_INVALID")):
            stranger = Closd(tcp, wrong)
            request = services_pb2.ListServicesRequest()
            code, details = failure(lambda: stranger.ask(stranger.services.ListServices, request))
            assert code == grpc.StatusCode.UNAUTHENTICATED, code
            assert details[error_details_pb2.ErrorInfo].reason == reason, details
    print("all is well")


if __name__ == "__main__":
    main(*sys.argv[1:])
