//! Operations, and what they are for each service.

use clos_domain::operation::{Action, FailurePolicy, Operation, State, Step, Verb};
use clos_proto::v2 as pb;

use super::{instance, number, reason, small, timestamp};

/// An operation with its steps; `first_seq` is the position of its first event, 0 when it is gone.
pub(crate) fn operation(operation: &Operation, first_seq: i64) -> pb::Operation {
    pb::Operation { steps: operation.steps.iter().map(step).collect(), ..summary(operation, first_seq) }
}

/// An operation without its steps, as listings show it.
pub(crate) fn summary(operation: &Operation, first_seq: i64) -> pb::Operation {
    let services = services(&operation.steps);
    let with = |status: pb::OperationStatus| {
        small(services.iter().filter(|service| service.status == i32::from(status)).count())
    };
    pb::Operation {
        id: operation.id.to_string(),
        r#type: verb(operation.verb).into(),
        group_id: operation.group_id.to_string(),
        group_name: operation.group.name.to_string(),
        instance: instance(&operation.group),
        service_id: operation.service.as_ref().map(ToString::to_string).unwrap_or_default(),
        status: state(operation.state).into(),
        reason: reason(operation.reason),
        message: operation.message.clone(),
        policy: policy(operation.policy).into(),
        cancel_requested: operation.cancel_requested,
        progress: operation.progress(),
        total_services: small(services.len()),
        completed_services: with(pb::OperationStatus::Completed),
        failed_services: with(pb::OperationStatus::Failed),
        service_operations: services,
        steps: Vec::new(),
        leftovers: operation.leftovers.clone(),
        request_id: operation.request_id.clone(),
        first_seq,
        created_at: Some(timestamp(operation.created_at)),
        started_at: operation.started_at.map(timestamp),
        ended_at: operation.ended_at.map(timestamp),
    }
}

fn step(step: &Step) -> pb::Step {
    let service = step.service_name.as_ref().map(ToString::to_string).unwrap_or_default();
    pb::Step {
        number: number(step.number),
        resource_name: service.clone(),
        service,
        service_id: step.service.as_ref().map(ToString::to_string).unwrap_or_default(),
        subject: step.subject.clone(),
        action: action(step.action).into(),
        status: state(step.state).into(),
        reason: reason(step.reason),
        message: step.message.clone(),
        why: step.why.clone(),
        needs: step.needs.iter().map(|need| number(*need)).collect(),
        started_at: step.started_at.map(timestamp),
        ended_at: step.ended_at.map(timestamp),
    }
}

/// The steps of each service together, in the order of their first steps.
fn services(steps: &[Step]) -> Vec<pb::ServiceOperation> {
    let mut by_service: indexmap::IndexMap<&str, Vec<&Step>> = indexmap::IndexMap::new();
    for step in steps {
        if let Some(service) = &step.service {
            by_service.entry(service.as_str()).or_default().push(step);
        }
    }
    by_service.into_iter().map(|(id, steps)| service_operation(id, &steps)).collect()
}

fn service_operation(id: &str, steps: &[&Step]) -> pb::ServiceOperation {
    let together = together(steps);
    // What went wrong says why; of several, the first.
    let cause = steps.iter().find(|step| step.state == together && step.reason.is_some());
    let name = steps.iter().find_map(|step| step.service_name.as_ref());
    let has_ended = steps.iter().all(|step| step.state.is_terminal());
    let ended_at = steps.iter().filter_map(|step| step.ended_at).max().filter(|_| has_ended);
    pb::ServiceOperation {
        service_id: id.to_owned(),
        service: name.map(ToString::to_string).unwrap_or_default(),
        status: state(together).into(),
        reason: reason(cause.and_then(|step| step.reason)),
        message: cause.map(|step| step.message.clone()).unwrap_or_default(),
        started_at: steps.iter().filter_map(|step| step.started_at).min().map(timestamp),
        ended_at: ended_at.map(timestamp),
    }
}

/// Where steps stand together: the worst that happened, else how far they are.
fn together(steps: &[&Step]) -> State {
    let any = |state: State| steps.iter().any(|step| step.state == state);
    let has_begun = any(State::InProgress) || any(State::Completed);
    match () {
        () if any(State::Failed) => State::Failed,
        () if any(State::Pending) && has_begun || any(State::InProgress) => State::InProgress,
        () if any(State::Cancelled) => State::Cancelled,
        () if any(State::Pending) => State::Pending,
        () => State::Completed,
    }
}

pub(crate) fn state(state: State) -> pb::OperationStatus {
    match state {
        State::Pending => pb::OperationStatus::Pending,
        State::InProgress => pb::OperationStatus::InProgress,
        State::Completed => pb::OperationStatus::Completed,
        State::Failed => pb::OperationStatus::Failed,
        State::Cancelled => pb::OperationStatus::Cancelled,
    }
}

fn verb(verb: Verb) -> pb::OperationType {
    match verb {
        Verb::Up => pb::OperationType::Up,
        Verb::Start => pb::OperationType::Start,
        Verb::Stop => pb::OperationType::Stop,
        Verb::Restart => pb::OperationType::Restart,
        Verb::Recreate => pb::OperationType::Recreate,
        Verb::Down => pb::OperationType::Down,
    }
}

pub(crate) fn action(action: Action) -> pb::StepAction {
    match action {
        Action::Pull => pb::StepAction::Pull,
        Action::Build => pb::StepAction::Build,
        Action::Network => pb::StepAction::Network,
        Action::Volume => pb::StepAction::Volume,
        Action::Create => pb::StepAction::Create,
        Action::Start => pb::StepAction::Start,
        Action::Wait => pb::StepAction::Wait,
        Action::Stop => pb::StepAction::Stop,
        Action::Remove => pb::StepAction::Remove,
        Action::Rename => pb::StepAction::Rename,
        Action::Pause => pb::StepAction::Pause,
        Action::Unpause => pb::StepAction::Unpause,
    }
}

fn policy(policy: FailurePolicy) -> pb::FailurePolicy {
    match policy {
        FailurePolicy::Leave => pb::FailurePolicy::Leave,
        FailurePolicy::Undo => pb::FailurePolicy::Undo,
    }
}
