//! A project that got another name in the same folder.

use clos_domain::service::{Desired, Observed};

use crate::bed::{Bed, assert_completed, request};

fn text(name: &str) -> String {
    format!(
        "name: {name}
services:
  web: {{image: app, ports: ['18080:8080'], volumes: ['data:/data', /cache]}}
volumes: {{data: {{}}}}"
    )
}

#[tokio::test]
async fn the_old_group_is_named_and_removed_on_request_and_its_volumes_are_kept() {
    let bed = Bed::new().await;
    let operation = bed.apply(request(&text("old"))).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);

    let mut asked = request(&text("new"));
    asked.dry_run = true;
    let plan = bed.apply(asked.clone()).await.unwrap().plan;
    let note = "these files were group `old` before, and it still has containers; --remove-orphans removes them and its networks, and keeps its volumes";
    assert!(plan.notes.iter().any(|told| told == note), "{:#?}", plan.notes);
    let problem = plan.problems.first().expect("the port is that of the old one");
    assert!(problem.hint.contains("--remove-orphans"), "{problem:#?}");
    asked.remove_orphans = true;
    let plan = bed.apply(asked.clone()).await.unwrap().plan;
    assert!(plan.problems.is_empty(), "{:#?}", plan.problems);
    assert!(bed.engine.runs("old-web-1"), "a plan changes nothing");

    asked.dry_run = false;
    let operation = bed.apply(asked).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    let kept = "kept: volume `old_data`, 1 anonymous volume of group `old`";
    assert!(operation.message.contains(kept), "{}", operation.message);
    assert!(!bed.engine.has("old-web-1") && bed.engine.runs("new-web-1"));
    assert_eq!(bed.engine.network_names(), ["new_default"]);
    let volumes = bed.engine.volume_names();
    assert!(volumes.contains(&"old_data".to_owned()) && volumes.len() == 4, "{volumes:?}");
    let old = bed.service("old/web").await;
    assert_eq!((old.desired, old.observed), (Desired::Absent, Observed::Absent));

    let operation = bed.apply(request(&text("new"))).await.unwrap().operation.unwrap();
    let message = bed.ended(&operation).await.message;
    assert!(!message.contains("old"), "there is nothing left to tell: {message}");
}

#[tokio::test]
async fn a_second_group_of_the_same_files_that_was_asked_for_by_name_is_left_alone() {
    let bed = Bed::new().await;
    let named = "services: {web: {image: app}}";
    let copy = clos_control::apply::Request { group: Some("copy".into()), ..request(named) };
    let operation = bed.apply(copy).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    let mut by_variable = request(named);
    by_variable.source.variables.insert("COMPOSE_PROJECT_NAME".into(), Some("other".into()));
    let operation = bed.apply(by_variable).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    let mut asked = request(named);
    asked.remove_orphans = true;
    let operation = bed.apply(asked).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert_eq!(operation.message, "");
    assert!(bed.engine.runs("copy-web-1") && bed.engine.runs("other-web-1"));
}
