//! Operations: list, wait, watch, cancel. The running itself is the [`runner`](crate::runner)'s.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Draft, Filter, Sequence, Severity, types};
use clos_domain::operation::{Operation, State};
use clos_domain::page::{Page, Request};
use clos_domain::seams::store::OperationFilter;
use clos_domain::service::{Desired, Ended, Service};
use clos_domain::{Ctx, Reason, Result};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::ledger::{Item, Ledger};
use crate::{Shared, World, lookup};

/// The use cases of operations.
pub struct Operations<'a> {
    pub(crate) shared: &'a Arc<Shared>,
}

impl Operations<'_> {
    /// All that fit, newest first.
    pub async fn list(
        &self,
        _ctx: &Ctx,
        filter: &OperationFilter,
        page: &Request,
    ) -> Result<Page<Operation>> {
        let mut view = self.shared.world.store.view().await?;
        Ok(view.operations().list(filter, page).await?)
    }

    /// One, with its steps.
    pub async fn get(&self, _ctx: &Ctx, id: &str) -> Result<Operation> {
        let mut view = self.shared.world.store.view().await?;
        lookup::operation(view.as_mut(), id).await
    }

    /// The sequence of its first event; 0 when the journal no longer has it.
    pub async fn first_seq(&self, _ctx: &Ctx, id: &str) -> Result<Sequence> {
        let mut view = self.shared.world.store.view().await?;
        let operation = lookup::operation(view.as_mut(), id).await?;
        Ok(view.journal().first_of(&operation.id).await?.unwrap_or(0))
    }

    /// Asks it to end: a wait, pull or build at once, an engine call that was sent is
    /// awaited. One that has ended already is returned as it is.
    pub async fn cancel(&self, _ctx: &Ctx, id: &str) -> Result<Operation> {
        let operation = {
            let mut tx = self.shared.world.store.begin().await?;
            let mut operation = lookup::operation(tx.as_mut(), id).await?;
            if operation.state.is_terminal() {
                return Ok(operation);
            }
            operation.cancel_requested = true;
            tx.operations().update(&operation).await?;
            self.shared.ledger.commit(tx).await?;
            operation
        };
        self.shared.runner.cancel(&operation.id);
        Ok(operation)
    }

    /// Waits until it ends, or until the time is over: then it is returned as it stands.
    pub async fn wait(&self, ctx: &Ctx, id: &str, at_most: Duration) -> Result<Operation> {
        let mut heads = self.shared.ledger.heads();
        let drain = self.shared.supervisor.drain_token();
        let patience = tokio::time::sleep(at_most);
        tokio::pin!(patience);
        loop {
            heads.mark_unchanged();
            let operation = self.get(ctx, id).await?;
            if operation.state.is_terminal() {
                return Ok(operation);
            }
            tokio::select! {
                moved = heads.changed() => if moved.is_err() { return Ok(operation) },
                () = &mut patience => return Ok(operation),
                () = drain.cancelled() => return Ok(operation),
            }
        }
    }

    /// Its events from its first, or after a position, and byte progress between them; ends after the terminal one.
    pub async fn watch(
        &self,
        ctx: &Ctx,
        id: &str,
        after: Option<Sequence>,
    ) -> Result<BoxStream<'static, Result<Item>>> {
        let operation = self.get(ctx, id).await?;
        let first = self.first_seq(ctx, id).await?;
        let after = after.map_or(first - 1, |after| after.max(first - 1)).max(0);
        let filter = Filter { operation: Some(operation.id.clone()), ..Filter::default() };
        let drain = self.shared.supervisor.drain_token();
        let watch = self.shared.ledger.watch(Some(after), filter, drain).await?;
        let ended_before = operation.state.is_terminal();
        let head = self.shared.ledger.head();
        let items = futures::stream::unfold((watch, false), move |(mut watch, over)| async move {
            // An operation whose terminal event is no longer kept would never end.
            if over || (ended_before && watch.position() >= head && !watch.has_pending()) {
                return None;
            }
            match watch.next().await {
                Ok(None) => None,
                Ok(Some(item)) => {
                    let is_last =
                        matches!(&item, Item::Event(event) if event.kind == types::GROUP_OPERATION_COMPLETED);
                    Some((Ok(item), (watch, is_last)))
                }
                Err(error) => Some((Err(error), (watch, true))),
            }
        });
        Ok(items.boxed())
    }
}

/// Until durability is built: what an earlier process left open ends as interrupted.
pub(crate) async fn interrupt_open(shared: &Shared) -> Result<()> {
    let open = {
        let mut view = shared.world.store.view().await?;
        let filter = OperationFilter { open: true, ..OperationFilter::default() };
        view.operations().list(&filter, &Request::ALL).await?.items
    };
    for operation in open {
        let message = "the daemon ended while the operation was open; run it again";
        let step_message = "the daemon ended";
        end_open(&shared.world, &shared.ledger, operation, Reason::Interrupted, step_message, message)
            .await?;
    }
    Ok(())
}

/// Ends an operation that nobody drives any more, with every step of it that is open.
pub(crate) async fn end_open(
    world: &World,
    ledger: &Ledger,
    mut operation: Operation,
    reason: Reason,
    step_message: &str,
    message: &str,
) -> Result<()> {
    let now = world.clock.now();
    let mut tx = world.store.begin().await?;
    for step in operation.steps.iter_mut().filter(|step| !step.state.is_terminal()) {
        step.state = if step.state == State::Pending { State::Cancelled } else { State::Failed };
        step.reason = Some(reason);
        step_message.clone_into(&mut step.message);
        step.ended_at = Some(now);
        tx.operations().update_step(&operation.id, step).await?;
        let Some(service) = &step.service else { continue };
        let before = tx.services().get(service).await?;
        // Nobody starts again what was stopped on the way.
        let was_left = |row: &Service| row.ended_by == Some(Ended::Clos) && row.desired == Desired::Running;
        if let Some(before) = before.filter(|before| before.step.is_some() || was_left(before)) {
            let mut row = before.clone();
            row.step = None;
            if was_left(&row) {
                row.ended_by = None;
            }
            crate::sight::save(tx.as_mut(), &before, &mut row, now).await?;
        }
    }
    operation.state = State::Failed;
    operation.reason = Some(reason);
    message.clone_into(&mut operation.message);
    operation.ended_at = Some(now);
    tx.operations().update(&operation).await?;
    let mut event = Draft::new(types::GROUP_OPERATION_COMPLETED, now);
    event.severity = Severity::Error;
    event.group = Some(operation.group.clone());
    event.service.clone_from(&operation.service);
    event.data.service_name = crate::verbs::name_of(&operation);
    event.operation = Some(operation.id.clone());
    event.data.verb = Some(operation.verb.as_str().to_owned());
    event.data.state = Some(State::Failed.as_str().to_owned());
    event.data.reason = Some(reason.as_str().to_owned());
    event.data.message = Some(message.to_owned());
    tx.journal().append(event);
    ledger.commit(tx).await?;
    Ok(())
}
