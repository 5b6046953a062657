//! One method an RPC: the request in, the answer or the error out.

use clos_proto::v2 as pb;
use pb::events_api_client::EventsApiClient;
use pb::groups_api_client::GroupsApiClient;
use pb::operations_api_client::OperationsApiClient;
use pb::services_api_client::ServicesApiClient;
use pb::system_api_client::SystemApiClient;

use crate::connect::{ANSWER_MAX, Attempts, Client};
use crate::error::Error;

/// A read is repeated when the daemon is away for a moment, a change is not.
macro_rules! calls {
    ($($api:ident { $($attempts:ident $name:ident($request:ty) -> $response:ty;)* })*) => {
        impl Client {$($(
            #[doc = concat!("Calls `", stringify!($api), ".", stringify!($name), "`; the contract says what it does.")]
            ///
            /// # Errors
            /// What the daemon answered, or that it did not.
            pub async fn $name(&self, request: $request) -> Result<$response, Error> {
                let mut attempts = Attempts::$attempts();
                loop {
                    let mut api = $api::new(self.wire()).max_decoding_message_size(ANSWER_MAX);
                    // Boxed: the future of a generated call is large, and each caller would carry it.
                    let call = Box::pin(api.$name(self.request(request.clone())));
                    match self.answer(call).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => attempts.after(error).await?,
                    }
                }
            }
        )*)*}
    };
}

calls! {
    ServicesApiClient {
        of_a_read list_services(pb::ListServicesRequest) -> pb::ListServicesResponse;
        of_a_change create_service(pb::CreateServiceRequest) -> pb::Service;
        of_a_read get_service(pb::GetServiceRequest) -> pb::Service;
        of_a_change update_service(pb::UpdateServiceRequest) -> pb::Service;
        of_a_change replace_service(pb::ReplaceServiceRequest) -> pb::Service;
        of_a_change delete_service(pb::DeleteServiceRequest) -> ();
        of_a_change start_service(pb::StartServiceRequest) -> pb::Operation;
        of_a_change stop_service(pb::StopServiceRequest) -> pb::Operation;
        of_a_change restart_service(pb::RestartServiceRequest) -> pb::Operation;
        of_a_change recreate_service(pb::RecreateServiceRequest) -> pb::Operation;
        of_a_change down_service(pb::DownServiceRequest) -> pb::Operation;
        of_a_read get_service_metrics(pb::GetServiceMetricsRequest) -> pb::GetServiceMetricsResponse;
        of_a_read get_service_health(pb::GetServiceHealthRequest) -> pb::ServiceHealth;
        of_a_read list_service_operations(pb::ListServiceOperationsRequest) -> pb::ListOperationsResponse;
        of_a_read list_service_events(pb::ListServiceEventsRequest) -> pb::ListEventsResponse;
        of_a_change batch_services(pb::BatchServicesRequest) -> pb::Operation;
        of_a_change import_services(pb::ImportServicesRequest) -> pb::ImportServicesResponse;
    }
    GroupsApiClient {
        of_a_read list_groups(pb::ListGroupsRequest) -> pb::ListGroupsResponse;
        of_a_change create_group(pb::CreateGroupRequest) -> pb::Group;
        of_a_read get_group(pb::GetGroupRequest) -> pb::Group;
        of_a_change update_group(pb::UpdateGroupRequest) -> pb::Group;
        of_a_change replace_group(pb::ReplaceGroupRequest) -> pb::Group;
        of_a_change delete_group(pb::DeleteGroupRequest) -> ();
        of_a_change apply_group(pb::ApplyGroupRequest) -> pb::ApplyGroupResponse;
        of_a_change start_group(pb::StartGroupRequest) -> pb::Operation;
        of_a_change stop_group(pb::StopGroupRequest) -> pb::Operation;
        of_a_change restart_group(pb::RestartGroupRequest) -> pb::Operation;
        of_a_change down_group(pb::DownGroupRequest) -> pb::Operation;
        of_a_read get_group_graph(pb::GetGroupGraphRequest) -> pb::GroupGraph;
        of_a_read get_group_manifest(pb::GetGroupManifestRequest) -> pb::GroupManifest;
    }
    OperationsApiClient {
        of_a_read list_operations(pb::ListOperationsRequest) -> pb::ListOperationsResponse;
        of_a_read get_operation(pb::GetOperationRequest) -> pb::Operation;
        of_a_change cancel_operation(pb::CancelOperationRequest) -> pb::Operation;
        of_a_read wait_operation(pb::WaitOperationRequest) -> pb::Operation;
    }
    EventsApiClient {
        of_a_read list_events(pb::ListEventsRequest) -> pb::ListEventsResponse;
    }
    SystemApiClient {
        of_a_read get_health(pb::GetHealthRequest) -> pb::GetHealthResponse;
        of_a_read get_live(pb::GetLiveRequest) -> pb::GetLiveResponse;
        of_a_read get_ready(pb::GetReadyRequest) -> pb::GetReadyResponse;
        of_a_read get_system_info(pb::GetSystemInfoRequest) -> pb::SystemInfo;
    }
}
