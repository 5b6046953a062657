"""The demo's start, watch and stop by a client that openapi-python-client generated: python client.py ADDRESS TOKEN GROUP."""

import json
import sys

from clos import AuthenticatedClient
from clos.api.groups import groups_start, groups_stop
from clos.api.operations import operations_wait, operations_watch
from clos.api.services import services_list
from clos.models import Error, Event, OperationStatus, ServiceStatus, StartGroupRequest, StopGroupRequest


def watch(client, operation):
    """The events of an operation as they come, until it ends. The generated function would wait for all of them."""
    with client.get_httpx_client().stream(**operations_watch._get_kwargs(operation.id)) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            yield Event.from_dict(json.loads(line))


def statuses(client, group):
    return {service.name: service.status for service in services_list.sync(client=client, group=group).services}


def main(address, token, group):
    client = AuthenticatedClient(base_url=f"http://{address}", token=token)

    operation = groups_start.sync(group, client=client, body=StartGroupRequest())
    seen = [event.type_ for event in watch(client, operation)]
    assert "operation.progress" in seen and seen[-1] == "group.operation_completed", seen
    assert statuses(client, group) == {"db": ServiceStatus.RUNNING, "web": ServiceStatus.RUNNING}

    operation = groups_stop.sync(group, client=client, body=StopGroupRequest(timeout=1))
    operation = operations_wait.sync(operation.id, client=client, timeout="30s")
    assert operation.status == OperationStatus.COMPLETED, operation
    assert statuses(client, group) == {"db": ServiceStatus.STOPPED, "web": ServiceStatus.STOPPED}

    error = groups_start.sync("nobody", client=client, body=StartGroupRequest())
    assert isinstance(error, Error) and error.code == "GROUP_NOT_FOUND", error


if __name__ == "__main__":
    main(*sys.argv[1:])
