//! Plans and findings.

use clos_domain::error::{Finding, Severity};
use clos_domain::name::GroupRef;
use clos_domain::plan::{Change, Plan, Step, Work};
use clos_domain::port::Assignment;
use clos_domain::problem::Problem;
use clos_proto::v2 as pb;

use super::{instance, number, operation, port};

/// What an operation would do, what was found on the way, and all of it as text.
pub(crate) fn plan(group: &GroupRef, plan: &Plan, findings: &[Finding]) -> pb::Plan {
    pb::Plan {
        group_name: group.name.to_string(),
        instance: instance(group),
        steps: plan.steps.iter().map(|one| step(plan, one)).collect(),
        notes: plan.notes.clone(),
        findings: findings.iter().map(finding).collect(),
        ports: plan.ports.iter().map(planned_port).collect(),
        text: plan.render(),
        problems: plan.problems.iter().map(problem).collect(),
    }
}

/// What stands in the way of a plan.
pub(crate) fn problem(problem: &Problem) -> pb::Problem {
    let hint = match &problem.conflict {
        Some(conflict) if problem.hint.is_empty() => crate::status::suggestion(conflict),
        _ => problem.hint.clone(),
    };
    pb::Problem {
        reason: problem.reason.as_str().to_owned(),
        subject: problem.subject.clone(),
        message: problem.message.clone(),
        hint,
    }
}

fn step(plan: &Plan, step: &Step) -> pb::PlanStep {
    let service = step.service.as_ref();
    let is_create = matches!(step.work, Work::Create(_));
    let changes = service.filter(|_| is_create).and_then(|(id, _)| plan.changes.get(id));
    let name = service.map(|(_, name)| name.to_string()).unwrap_or_default();
    pb::PlanStep {
        number: number(step.number),
        resource_name: name.clone(),
        service: name,
        service_id: service.map(|(id, _)| id.to_string()).unwrap_or_default(),
        subject: step.work.subject().to_owned(),
        action: operation::action(step.work.action()).into(),
        why: step.why.clone(),
        needs: step.needs.iter().map(|need| number(*need)).collect(),
        after: step.after.iter().map(|after| number(*after)).collect(),
        changes: changes.into_iter().flatten().map(change).collect(),
    }
}

fn change(change: &Change) -> pb::PlanChange {
    pb::PlanChange { field: change.field.clone(), from: change.from.clone(), to: change.to.clone() }
}

fn planned_port(assignment: &Assignment) -> pb::PlannedPort {
    let published = &assignment.port;
    pb::PlannedPort {
        service: assignment.owner.to_string(),
        container_port: published.container_port.into(),
        host_ip: super::text(published.host_ip.as_ref()),
        host_port: published.host_port.into(),
        protocol: port::protocol(published.protocol).into(),
        addresses: published.addresses.clone(),
        why: assignment.why.to_owned(),
    }
}

/// Something worth knowing at a place of a file.
pub(crate) fn finding(finding: &Finding) -> pb::Finding {
    let severity = match finding.severity {
        Severity::Warning => pb::Severity::Warning,
        Severity::Error => pb::Severity::Error,
    };
    pb::Finding {
        severity: severity.into(),
        file: finding.file.clone(),
        line: number(finding.line),
        column: number(finding.column),
        key: finding.key.clone(),
        message: finding.message.clone(),
    }
}
