//! Containers that docker compose made of the same files.

use clos_domain::Reason;
use clos_domain::operation::State;
use clos_domain::seams::Workloads as _;
use clos_domain::seams::engine::Error as E;
use clos_domain::service::{Desired, Status};
use clos_domain::workload::{Composed, ConfigHash};

use clos_control::apply::Request;

use crate::bed::{Bed, FOLDER, assert_completed, assert_refused, request, steps};

const TEXT: &str = "services: {web: {image: app}}";

async fn hash() -> String {
    let bed = Bed::new().await;
    bed.up(TEXT).await;
    match bed.service("shop/web").await.definition.config_hash {
        Some(ConfigHash::Known(hash)) => hash,
        other => panic!("{other:?}"),
    }
}

fn composed(config_hash: &str) -> Composed {
    Composed {
        project: "shop".into(),
        service: "web".into(),
        working_dir: FOLDER.into(),
        config_hash: config_hash.into(),
        is_oneoff: false,
    }
}

#[tokio::test]
async fn an_unchanged_container_of_compose_is_adopted_as_it_is() {
    let bed = Bed::new().await;
    bed.engine.add_composed("shop-web-1", "app", composed(&hash().await));
    let id = bed.engine.inspect("shop-web-1").await.unwrap().unwrap().id;
    let refused = assert_refused(bed.apply(request(TEXT)).await, Reason::NameTaken, "--adopt");
    assert!(refused.message().contains("shop-web-1"), "{refused}");

    let mut adopt = request(TEXT);
    adopt.adopt = true;
    let applied = bed.apply(adopt).await.unwrap();
    assert!(applied.plan.is_empty(), "{}", applied.plan.render());
    assert!(applied.plan.notes.iter().any(|note| note.contains("adopts `shop-web-1`")));
    assert_completed(&bed.ended(&applied.operation.unwrap()).await);
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
    let started_at = bed.engine.inspect("shop-web-1").await.unwrap().unwrap().started_at;
    assert_eq!(bed.service("shop/web").await.started_at, started_at);

    // From now on it is ours, without a word about adoption.
    let again = bed.apply(request(TEXT)).await.unwrap();
    assert!(again.plan.is_empty(), "{}", again.plan.render());
    assert_eq!(bed.engine.inspect("shop-web-1").await.unwrap().unwrap().id, id);
    bed.engine.kill("shop-web-1", 3);
    bed.until("shop/web", |web| web.status == Status::Failed).await;
    bed.engine.start_by_hand("shop-web-1");
    bed.until("shop/web", |web| web.status == Status::Running).await;

    let changed = bed.up("services: {web: {image: app, environment: {A: b}}}").await;
    assert_completed(&changed);
    assert!(steps(&changed).iter().any(|step| step.starts_with("create")), "{:?}", steps(&changed));
    let found = bed.engine.inspect("shop-web-1").await.unwrap().unwrap();
    assert!(found.identity.is_some() && found.id != id);
}

#[tokio::test]
async fn a_changed_container_of_compose_is_replaced_when_adopted() {
    let bed = Bed::new().await;
    bed.engine.add_composed("shop-web-1", "app", composed("another"));
    let mut adopt = request(TEXT);
    adopt.adopt = true;
    let operation = bed.apply(adopt).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.inspect("shop-web-1").await.unwrap().unwrap().identity.is_some());
    assert_eq!(bed.service("shop/web").await.desired, Desired::Running);
}

#[tokio::test]
async fn a_container_of_another_folders_project_is_a_strangers() {
    let bed = Bed::new().await;
    let elsewhere = Composed { working_dir: "/elsewhere".into(), ..composed(&hash().await) };
    bed.engine.add_composed("shop-web-1", "app", elsewhere);
    assert_refused(bed.apply(request(TEXT)).await, Reason::NameTaken, "clos does not manage");
}

#[tokio::test]
async fn an_adopted_container_that_cannot_be_replaced_is_put_back_and_stays_adopted() {
    let changed = "services: {web: {image: app, environment: {A: b}}}";
    for (call, error) in [
        ("create", E::Refused("invalid mount config: bind source path does not exist: /none".into())),
        ("start", E::PortInUse { port: 8080 }),
    ] {
        for is_known in [false, true] {
            let bed = Bed::new().await;
            bed.engine.add_composed("shop-web-1", "app", composed(&hash().await));
            bed.engine.join("shop-web-1", "shop_default");
            let id = bed.engine.inspect("shop-web-1").await.unwrap().unwrap().id;
            let adopt = |text| Request { adopt: true, ..request(text) };
            if is_known {
                let operation = bed.apply(adopt(TEXT)).await.unwrap().operation.unwrap();
                assert_completed(&bed.ended(&operation).await);
            }
            bed.engine.fail_always(call, &format!("{}_shop-web-1", &id[..12]), error.clone());
            let operation = bed.apply(adopt(changed)).await.unwrap().operation.unwrap();
            assert_eq!(bed.ended(&operation).await.state, State::Failed);
            let listed = bed.engine.list().await.unwrap();
            assert_eq!(listed.len(), 1, "{call}: {listed:#?}");
            assert_eq!((listed[0].id.as_str(), bed.engine.runs("shop-web-1")), (id.as_str(), true), "{call}");
            let web = bed.service("shop/web").await;
            assert_eq!((web.container_id.as_deref(), web.observed.is_running()), (Some(id.as_str()), true));

            let back = bed.apply(request(TEXT)).await.unwrap();
            assert!(back.plan.is_empty(), "{}", back.plan.render());
            assert_completed(&bed.ended(&back.operation.unwrap()).await);
            assert_eq!(bed.status("shop/web").await, (Status::Running, None));
        }
    }
}
