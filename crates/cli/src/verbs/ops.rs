//! `clos ops`: what was done, is done, and how far.

use clos_proto::v2 as pb;

use crate::args::Ops;
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::words;
use crate::output::{self, Listing};
use crate::session::Session;
use crate::{progress, time};

pub(super) async fn run(session: &Session<'_>, args: &Ops) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let Some(id) = &args.id else {
        let open = [pb::OperationStatus::Pending.into(), pb::OperationStatus::InProgress.into()];
        let request = pb::ListOperationsRequest {
            status: if args.open { open.to_vec() } else { Vec::new() },
            group_name: args.group.clone().unwrap_or_default(),
            limit: Some(args.tail),
            ..pb::ListOperationsRequest::default()
        };
        let operations = client.list_operations(request).await?.operations;
        let listing = Listing {
            field: "operations",
            item: "Operation",
            items: &operations,
            name: |operation: &pb::Operation| operation.id.clone(),
            table: &|wide| table(session, &operations, wide),
            nothing: "No operations",
        };
        output::list(session.context, session.global, session.style, &listing)?;
        return Ok(Exit::Ok);
    };
    let mut operation = if args.cancel {
        client.cancel_operation(pb::CancelOperationRequest { id: id.clone() }).await?
    } else {
        client.get_operation(pb::GetOperationRequest { id: id.clone() }).await?
    };
    if args.follow {
        operation = progress::follow(session, &client, &operation).await?;
    }
    output::one(session.context, session.global, "Operation", &operation, &operation.id, || {
        page(session, &operation)
    })?;
    Ok(Exit::Ok)
}

fn table(session: &Session<'_>, operations: &[pb::Operation], wide: bool) -> Table {
    let mut head = vec!["ID", "VERB", "OF", "STATUS", "DONE", "BEGAN", "TOOK"];
    if wide {
        head.push("MESSAGE");
    }
    let mut table = Table::new(head);
    for operation in operations {
        let (word, tone) = words::operation_status(operation.status());
        let word = if operation.reason.is_empty() {
            word.to_owned()
        } else {
            format!("{word} ({})", operation.reason)
        };
        let mut row: Vec<Cell> = vec![
            operation.id.clone().into(),
            words::verb(operation.r#type()).into(),
            words::group_name(&operation.group_name, &operation.instance).into(),
            Cell::toned(word, tone),
            format!("{}/{}", operation.completed_services, operation.total_services).into(),
            when(session, operation.created_at.as_ref()).into(),
            progress::took(operation).unwrap_or_default().into(),
        ];
        if wide {
            row.push(operation.message.clone().into());
        }
        table.row(row);
    }
    table
}

fn when(session: &Session<'_>, at: Option<&prost_types::Timestamp>) -> String {
    let Some(at) = time::of(at) else { return String::new() };
    if session.context.streams.out_is_terminal {
        time::ago(at, (session.context.now)())
    } else {
        at.to_string()
    }
}

/// One operation with its steps.
fn page(session: &Session<'_>, operation: &pb::Operation) -> String {
    let paint = session.style.on_output;
    let (word, tone) = words::operation_status(operation.status());
    let whole = words::group_name(&operation.group_name, &operation.instance);
    let mut text = format!("{} {whole}  {}", words::verb(operation.r#type()), paint.word(tone, word));
    if let Some(took) = progress::took(operation) {
        text.push_str(&format!("  in {took}"));
    }
    if operation.cancel_requested {
        text.push_str("  (cancel requested)");
    }
    text.push('\n');
    for line in [&operation.reason, &operation.message] {
        if !line.is_empty() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if operation.steps.is_empty() {
        return text;
    }
    let mut table = Table::new(["STEP", "ACTION", "OF", "STATUS", "TOOK", "WHY"]);
    for step in &operation.steps {
        let (word, tone) = words::operation_status(step.status());
        let of = if step.service.is_empty() { step.subject.clone() } else { step.service.clone() };
        let why = [&step.message, &step.reason, &step.why].into_iter().find(|why| !why.is_empty());
        let took = match (time::of(step.started_at.as_ref()), time::of(step.ended_at.as_ref())) {
            (Some(from), Some(to)) => format!("{} ms", to.as_millisecond() - from.as_millisecond()),
            _ => String::new(),
        };
        table.row([
            step.number.to_string().into(),
            words::action(step.action()).into(),
            of.into(),
            Cell::toned(word, tone),
            took.into(),
            why.cloned().unwrap_or_default().into(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text(paint));
    text
}
