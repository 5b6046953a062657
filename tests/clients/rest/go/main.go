// The demo's start, watch and stop by a client that oapi-codegen generated: go run . ADDRESS TOKEN GROUP.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"

	"clos-tests/clos"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address, token, group string) error {
	bearer := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	client, err := clos.NewClientWithResponses("http://"+address, clos.WithRequestEditorFn(bearer))
	if err != nil {
		return err
	}

	started, err := client.GroupsStartWithResponse(ctx, group, nil, clos.StartGroupRequest{})
	if err != nil {
		return err
	}
	if started.JSON200 == nil {
		return fmt.Errorf("start: %s", started.Body)
	}
	seen, err := watch(ctx, client, *started.JSON200.Id)
	if err != nil {
		return err
	}
	if !slices.Contains(seen, "operation.progress") || seen[len(seen)-1] != "group.operation_completed" {
		return fmt.Errorf("watch: %v", seen)
	}
	if err := expect(ctx, client, group, "running"); err != nil {
		return err
	}

	timeout := int32(1)
	stopped, err := client.GroupsStopWithResponse(ctx, group, nil, clos.StopGroupRequest{Timeout: &timeout})
	if err != nil {
		return err
	}
	if stopped.JSON200 == nil {
		return fmt.Errorf("stop: %s", stopped.Body)
	}
	patience := "30s"
	ended, err := client.OperationsWaitWithResponse(ctx, *stopped.JSON200.Id, &clos.OperationsWaitParams{Timeout: &patience})
	if err != nil {
		return err
	}
	if ended.JSON200 == nil || *ended.JSON200.Status != "completed" {
		return fmt.Errorf("wait: %s", ended.Body)
	}
	if err := expect(ctx, client, group, "stopped"); err != nil {
		return err
	}

	missing, err := client.GroupsStartWithResponse(ctx, "nobody", nil, clos.StartGroupRequest{})
	if err != nil {
		return err
	}
	if missing.JSON404 == nil || missing.JSON404.Code != "GROUP_NOT_FOUND" {
		return fmt.Errorf("a group that does not exist: %s", missing.Body)
	}
	return nil
}

// watch reads the types of an operation's events as they come, until it ends.
func watch(ctx context.Context, client *clos.ClientWithResponses, operation string) ([]string, error) {
	answer, err := client.OperationsWatch(ctx, operation, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("watch: %s", answer.Status)
	}
	var seen []string
	for events := json.NewDecoder(answer.Body); ; {
		var event clos.Event
		if err := events.Decode(&event); errors.Is(err, io.EOF) {
			return seen, nil
		} else if err != nil {
			return nil, err
		}
		seen = append(seen, *event.Type)
	}
}

// expect compares the status of each service.
func expect(ctx context.Context, client *clos.ClientWithResponses, group, status string) error {
	listed, err := client.ServicesListWithResponse(ctx, &clos.ServicesListParams{Group: &group})
	if err != nil {
		return err
	}
	if listed.JSON200 == nil {
		return fmt.Errorf("list: %s", listed.Body)
	}
	found := map[string]string{}
	for _, service := range *listed.JSON200.Services {
		found[*service.Name] = string(*service.Status)
	}
	if wanted := map[string]string{"db": status, "web": status}; !maps.Equal(found, wanted) {
		return fmt.Errorf("services are %v, not %v", found, wanted)
	}
	return nil
}
